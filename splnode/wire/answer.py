"""What a server's reply means: a value, one of the message's declared errors, or a CallError."""

from collections.abc import Mapping

from splnode.errors import CallError, Code, DataError, RemoteWireError
from splnode.limits import Limits
from splnode.wire.events import Response
from splnode.wire.failure import read_failure
from splnode.wire.message import ClientCall
from splnode.wire.metadata import metadata_codec
from splnode.wire.primitive import NO_METADATA, read_long


class AnswerReader:
    """Reads replies, from behind their handshake on. RemoteWireError for what is none: close the connection."""

    __slots__ = ("_metadata",)

    def __init__(self, limits: Limits) -> None:
        self._metadata = metadata_codec(limits)

    def read(self, serial: int, call: ClientCall, body: bytes, start: int = 0) -> Response:
        """The answer to `call`. Where it cannot be read that call alone has failed: the frame was fine."""
        if body.startswith(b"\0\0", start):  # no metadata, no error
            return _value(serial, call, body, start + 2, NO_METADATA)
        metadata, position = self._metadata.read(body, start)
        flag = body[position : position + 1]
        if flag == b"\0":
            return _value(serial, call, body, position + 1, metadata)
        if flag != b"\x01":
            raise RemoteWireError(f"the error flag of a response is 00 or 01, not {flag.hex() or 'missing'}")
        position += 1
        try:
            index, position = read_long(body, position)
            if index == 0:
                return Response(serial, None, read_failure(body, position, metadata)[0], metadata)
            error, end = call.errors.read(index, body, position)
        except (DataError, RemoteWireError) as fault:
            return Response(serial, None, _unreadable(call, "error", str(fault)), metadata)
        if end != len(body):
            return Response(serial, None, _unreadable(call, "error", f"{len(body) - end} bytes too many"), metadata)
        return Response(serial, None, error, metadata)

    def pong(self, serial: int, body: bytes) -> Response:
        """The answer to a ping."""
        metadata, position = self._metadata.read(body, 0)
        error = None if body[position : position + 1] == b"\0" else _failure(body, position, metadata)
        return Response(serial, None, error, metadata)

    def unfit(self, serial: int, error: CallError, body: bytes, start: int) -> Response:
        """The answer to a call that was sent before it was known that it does not fit the server, as `error` says."""
        if start >= len(body):
            return Response(serial, None, error, NO_METADATA)
        metadata, at = self._metadata.read(body, start)
        if body[at : at + 1] == b"\x01":
            remote = _failure(body, at, metadata)
            if remote.code is Code.UNKNOWN:  # it has no codes, but we see what it meant
                remote = CallError(error.code, remote.message, remote=True, started=False)
            error = remote
        return Response(serial, None, error, metadata)


def _value(serial: int, call: ClientCall, body: bytes, start: int, metadata: Mapping[str, bytes]) -> Response:
    try:
        value, end = call.decode(body, start)
    except DataError as fault:
        return Response(serial, None, _unreadable(call, "response", str(fault)), metadata)
    if end != len(body):
        return Response(serial, None, _unreadable(call, "response", f"{len(body) - end} bytes too many"), metadata)
    return Response(serial, value, None, metadata)


def _failure(body: bytes, position: int, metadata: Mapping[str, bytes]) -> CallError:
    """A system error where no declared one can be."""
    try:
        index, position = read_long(body, position + 1)
        if index == 0:
            return read_failure(body, position, metadata)[0]
    except RemoteWireError:
        pass
    return CallError(Code.UNKNOWN, "the server answers with an error that cannot be read", remote=True)


def _unreadable(call: ClientCall, what: str, reason: str) -> CallError:
    return CallError(Code.INTERNAL, f"the {what} of {call.message.name} cannot be read: {reason}")
