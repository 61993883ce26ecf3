"""The call's records as msgspec Structs, for those that decode straight into them."""

import msgspec


class ExecuteRequest(msgspec.Struct):
    module: str
    headers: dict[str, str]
    value: bytes | str | None


class ExecuteResponse(msgspec.Struct):
    module: str
    headers: dict[str, str]
    value: bytes | str | None


class BytesRequest(msgspec.Struct):
    """The request for msgspec's own codecs, which take no union of bytes and str."""

    module: str
    headers: dict[str, str]
    value: bytes | None
