"""Sockets: connections, listeners, HTTP."""
