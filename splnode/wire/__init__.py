"""Avro IPC without a socket: framings, handshake, call format and limits, decided on bytes alone."""
