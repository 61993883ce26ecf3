"""Avro itself: schemas, protocols, the codec. No asyncio, no clock, no socket."""
