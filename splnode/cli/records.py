"""The schemas behind the `splnode.Record`s of a result: asked of the node that sent them, by fingerprint."""

from typing import Any

from splnode.avro import single_object
from splnode.avro.protocol import Message
from splnode.avro.schema import Schema, parse_schema
from splnode.cli.params import JsonForm
from splnode.cli.target import Target
from splnode.errors import DeclaredError, SplnodeError


class Schemas:
    """Looks schemas up by their CRC-64-AVRO fingerprint, each asked for once."""

    def __init__(self, where: Target) -> None:
        self._where = where
        self._known: dict[int, Schema | None] = {}
        self._missed: set[int] = set()

    def json(self, form: JsonForm, schema: Schema, value: Any) -> Any:
        """A result as JSON. A Record whose schema nobody knows keeps its bytes."""
        form.lookup = self._lookup
        while True:
            self._missed.clear()
            found = form.result(schema, value)
            if not self._missed:
                return found
            self._ask()

    def error(self, form: JsonForm, message: Message, error: DeclaredError) -> DeclaredError:
        """A declared error of the message, with its fields as JSON."""
        for branch in message.errors.branches[1:]:
            if error.schema_name in (branch.label, branch.short_name):
                fields = self.json(form, branch, error.value)
                return type(error)(**fields) if isinstance(fields, dict) else error
        return error

    def _lookup(self, fingerprint: int) -> Schema | None:
        if fingerprint not in self._known:
            self._missed.add(fingerprint)
        return self._known.get(fingerprint)

    def _ask(self) -> None:
        """Whatever the node says: each fingerprint is known, or known to be unknown, afterwards."""
        from splnode.cli import dial

        wanted = sorted(self._missed)
        self._known |= dict.fromkeys(wanted)
        try:
            with dial.service(self._where, dial.REFLECTION) as client:
                for number in wanted:
                    text = client.call("getSchema", {"fingerprint": single_object.show(number)})
                    self._known[number] = parse_schema(str(text), referee=False)
        except SplnodeError:
            return  # a foreign peer, or a schema that it does not know either
