"""What a supervisor says to its workers: a protocol of ours that nobody else speaks."""

from functools import cache
from typing import Final

from splnode.avro.protocol import Protocol
from splnode.errors import DeclaredError

_TEXT: Final = """{
  "protocol": "Worker",
  "namespace": "splnode",
  "doc": "A process that answers calls of a node. Descriptors are those that it has inherited.",
  "types": [
    {"type": "record", "name": "Listening", "doc": "Where it accepts.", "fields": [
      {"name": "endpoint", "type": "string"},
      {"name": "descriptors", "type": {"type": "array", "items": "int"}, "doc": "Sockets that listen, if any."}
    ]},
    {"type": "record", "name": "Link", "doc": "A service of the supervisor.", "fields": [
      {"name": "protocol", "type": "string", "doc": "Its text."},
      {"name": "descriptor", "type": "int", "doc": "A connection to it."}
    ]},
    {"type": "error", "name": "WorkerFault", "doc": "It cannot serve.", "fields": [
      {"name": "message", "type": "string"}
    ]}
  ],
  "messages": {
    "serve": {
      "doc": "Begins to serve: once in the life of a worker. Answered when it accepts.",
      "request": [
        {"name": "config", "type": "string", "doc": "The settings, as JSON."},
        {"name": "listening", "type": {"type": "array", "items": "Listening"}},
        {"name": "handed", "type": "int", "doc": "Where it is handed connections, each with its place in listening."},
        {"name": "links", "type": {"type": "array", "items": "Link"}, "doc": "In the order of the node's services."}
      ],
      "response": "null",
      "errors": ["WorkerFault"]
    },
    "reload": {
      "doc": "Takes over what can change while it runs.",
      "request": [{"name": "config", "type": "string"}],
      "response": "null"
    },
    "metrics": {
      "doc": "What it has counted, and what it uses: families as in splnode.Metrics, as JSON.",
      "request": [],
      "response": {"type": "map", "values": "string"}
    },
    "stop": {
      "doc": "Refuses new calls, lets those that run end, and then itself.",
      "request": [],
      "response": "null"
    }
  }
}"""


class WorkerFault(DeclaredError):
    """The worker cannot serve: field `message`."""

    schema_name = "splnode.WorkerFault"


@cache
def worker_protocol() -> Protocol:
    """The protocol; the same object each time."""
    return Protocol.parse(_TEXT, source="splnode.Worker")
