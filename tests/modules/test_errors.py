from pathlib import Path

from splnode.avro.protocol import Protocol
from splnode.modules.errors import fault

PROTOCOL = Path(__file__).parents[2] / "protocols" / "SPLExecuteService.avpr"


def test_an_error_has_the_fields_that_the_protocol_declares() -> None:
    protocol = Protocol.load(PROTOCOL)
    error = fault("a/b/c", "NOT_FOUND", "there is none")
    declared = protocol.types[error.schema_name]
    assert set(error.value) == {field.name for field in declared.fields}
    assert error.code in protocol.types["ExecutionFault"].symbols
