"""The two ends of a connection as its holder sees them: bytes in, events out, and no socket anywhere."""

from splnode.wire.client import ClientSession
from splnode.wire.directory import ClientProtocols, Directory
from splnode.wire.server import ServerSession

__all__ = ["ClientProtocols", "ClientSession", "Directory", "ServerSession"]
