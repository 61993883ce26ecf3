"""Calls: channels, clients, servers, deadlines, admission. On asyncio, without a socket."""
