"""Looks at a schema (.avsc) or a protocol (.avpr) file; - is stdin.

  splnode schema fingerprint FILE    CRC-64-AVRO, MD5 and SHA-256 of its canonical form; of a protocol its own two
  splnode schema canonical FILE      its Parsing Canonical Form
  splnode schema validate FILE       whether it is valid, and what in it has no effect

Exit code 4: it is not valid. What has no effect is said on stderr and changes no exit code, but with --strict.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from splnode.avro.protocol import Protocol
from splnode.avro.schema import Schema, parse_schema
from splnode.cli import output
from splnode.cli.failure import INCOMPATIBLE, UsageError, say
from splnode.errors import SchemaError


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `schema`."""
    parser.add_argument("action", choices=("fingerprint", "canonical", "validate"))
    parser.add_argument("files", metavar="FILE", nargs="+", help="an .avsc or .avpr file, or - for stdin")
    parser.add_argument("--strict", action="store_true", help="validate: exit code 4 for what has no effect, too")


def run(args: argparse.Namespace) -> int:
    """One line of JSON for each file."""
    code = 0
    for name in args.files:
        text = _read(name)
        try:
            parsed = parse(text, name)
        except SchemaError as error:
            say(str(error) if name in str(error) else f"{name}: {error}")
            code = INCOMPATIBLE
            continue
        if args.action == "validate":
            warnings = check(text, parsed)
            for each in warnings:
                say(f"{name}: {each}")
            output.emit({"file": name, "name": _name(parsed), "valid": True, "warnings": warnings})
            code = INCOMPATIBLE if warnings and args.strict else code
        elif args.action == "canonical":
            _canonical(parsed, name)
        else:
            output.emit({"file": name, "name": _name(parsed), **fingerprints(parsed)})
    return code


def parse(text: bytes, name: str) -> Schema | Protocol:
    """The schema or protocol of a file. SchemaError."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None  # the parser of schemas says it better
    if isinstance(document, dict) and "protocol" in document:
        return Protocol.parse(text, source=name)
    return parse_schema(text)


def fingerprints(parsed: Schema | Protocol) -> dict[str, str]:
    """The fingerprints by name, in hexadecimal; of a schema those of the specification."""
    from splnode.avro import fingerprint

    ours = {
        "wire": fingerprint.wire_fingerprint(parsed).hex(),
        "resolution": fingerprint.resolution_fingerprint(parsed).hex(),
    }
    if isinstance(parsed, Protocol):
        return {"text_md5": parsed.md5.hex(), **ours}
    return {
        "crc64": f"{fingerprint.crc64_avro(parsed):016x}",
        "md5": fingerprint.md5(parsed).hex(),
        "sha256": fingerprint.sha256(parsed).hex(),
        **ours,
    }


def check(text: bytes, parsed: Schema | Protocol) -> list[str]:
    """Sentences about what has no effect."""
    from splnode.cli.lint import lint, lint_logical

    roots: list[Schema] = [parsed] if isinstance(parsed, Schema) else _roots(parsed)
    return lint(json.loads(text)) + lint_logical(*roots)


def _canonical(parsed: Schema | Protocol, name: str) -> None:
    from splnode.avro.fingerprint import canonical_form

    if isinstance(parsed, Protocol):
        raise UsageError(f"{name}: the canonical form is one of schemas; a protocol has fingerprints only")
    output.emit_text(canonical_form(parsed))


def _roots(protocol: Protocol) -> list[Schema]:
    roots = list(protocol.types.values())
    for message in protocol.messages.values():
        roots += [message.request, message.response, message.errors]
    return roots


def _name(parsed: Schema | Protocol) -> str:
    return parsed.name if isinstance(parsed, Protocol) else parsed.label


def _read(name: str) -> bytes:
    if name == "-":
        if sys.stdin is None:
            raise UsageError("-: stdin is closed")
        content: Any = sys.stdin.buffer.read()
        return bytes(content)
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise UsageError(f"{name}: it cannot be read: {error.strerror}") from None
