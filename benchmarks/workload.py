"""The call that every stack makes: a module of 20 characters, 3 headers, 64 bytes, 256 KiB or 8 MiB of value.

The parts stand in workload.json, because the node peer reads them too. In Avro the small request is 163
bytes. The answer has the same parts.
"""

import json
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
_PARTS: Final[dict[str, Any]] = json.loads((HERE / "workload.json").read_text())
MODULE: Final[str] = _PARTS["module"]
HEADERS: Final[dict[str, str]] = _PARTS["headers"]
SIZES: Final[dict[str, int]] = _PARTS["value"]


def value(payload: str) -> bytes:
    """The value of a payload, `small`, `large` or `huge`: bytes that are no text and that do not compress well."""
    size = SIZES[payload]
    return (bytes((i * 37 + 128) & 0xFF for i in range(256)) * (size // 256 + 1))[:size]
