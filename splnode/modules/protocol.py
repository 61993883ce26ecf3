"""What a node and the processes of its modules say to each other: a protocol of ours that nobody else speaks."""

from functools import cache
from typing import Final

from splnode.avro.json_value import RECORD_AVSC
from splnode.avro.protocol import Protocol
from splnode.errors import DeclaredError

VALUE: Final = '["null", "bytes", "string", "splnode.Record"]'
"""The type of a module's value, in and out."""

_TEXT: Final = f"""{{
  "protocol": "ModuleWorker",
  "namespace": "splnode",
  "doc": "A process that runs one module, one call at a time.",
  "types": [
    {RECORD_AVSC},
    {{"type": "record", "name": "Outcome", "doc": "What the module returned.", "fields": [
      {{"name": "headers", "type": {{"type": "map", "values": "string"}}}},
      {{"name": "value", "type": {VALUE}}},
      {{"name": "error", "type": ["null", "string"]}}
    ]}},
    {{"type": "error", "name": "ModuleFault", "doc": "It returned nothing.", "fields": [
      {{"name": "code", "type": "string", "doc": "A symbol of ExecutionFault."}},
      {{"name": "message", "type": "string"}},
      {{"name": "traceback", "type": "string", "doc": "For the node's log; may be empty."}}
    ]}}
  ],
  "messages": {{
    "load": {{
      "doc": "Loads the module: once in the life of a worker, before the first run.",
      "request": [
        {{"name": "uri", "type": "string"}},
        {{"name": "path", "type": "string"}},
        {{"name": "contract", "type": ["null", "string"], "doc": "The path of its contract."}}
      ],
      "response": "null",
      "errors": ["ModuleFault"]
    }},
    "run": {{
      "doc": "Calls it.",
      "request": [
        {{"name": "headers", "type": {{"type": "map", "values": "string"}}}},
        {{"name": "value", "type": {VALUE}}}
      ],
      "response": "Outcome",
      "errors": ["ModuleFault"]
    }}
  }}
}}"""


class ModuleFault(DeclaredError):
    """The module returned nothing: fields `code`, `message`, `traceback`."""

    schema_name = "splnode.ModuleFault"


@cache
def worker_protocol() -> Protocol:
    """The protocol; the same object each time."""
    return Protocol.parse(_TEXT, source="splnode.ModuleWorker")
