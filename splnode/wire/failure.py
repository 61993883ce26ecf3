"""A call that failed, as the wire tells it: the code as metadata, the text as the system error of every Avro peer."""

from collections.abc import Mapping

from splnode.errors import CallError, Code
from splnode.wire.metadata import CODE_KEY, HOPS_KEY, RETRY_AFTER_KEY, STARTED_KEY
from splnode.wire.primitive import read_string


def failure_metadata(error: CallError) -> dict[str, bytes]:
    """The code of a CallError, and what else the caller may act on, as response metadata."""
    metadata = {CODE_KEY: error.code.name.encode()}
    if error.retry_after is not None:
        metadata[RETRY_AFTER_KEY] = b"%d" % max(0, min(round(error.retry_after * 1000), 2**53))
    if not error.started:
        metadata[STARTED_KEY] = b"0"
    if error.hops:
        metadata[HOPS_KEY] = b"%d" % error.hops
    return metadata


def read_failure(data: bytes, start: int, metadata: Mapping[str, bytes]) -> tuple[CallError, int]:
    """A system error of the peer and the offset behind it. RemoteWireError for bytes that are no string."""
    text, end = read_string(data, start)
    name = metadata.get(CODE_KEY, b"").decode("ascii", "replace")
    code = Code[name] if name in Code.__members__ else Code.UNKNOWN
    delay = metadata.get(RETRY_AFTER_KEY, b"")
    retry_after = int(delay) / 1000 if delay.isdigit() and len(delay) <= 16 else None
    started = metadata.get(STARTED_KEY) != b"0"
    count = metadata.get(HOPS_KEY, b"")
    hops = int(count) if code is Code.FAILED_PRECONDITION and count.isdigit() and len(count) < 4 else 0  # yaqd echoes
    return CallError(code, text, remote=True, retry_after=retry_after, started=started, hops=hops), end
