from splnode.modules.protocol import ModuleFault, worker_protocol


def test_the_text_is_a_protocol() -> None:
    protocol = worker_protocol()
    assert protocol is worker_protocol()
    assert (protocol.name, list(protocol.messages)) == ("splnode.ModuleWorker", ["load", "run"])
    assert [field.name for field in protocol.types[ModuleFault.schema_name].fields] == ["code", "message", "traceback"]
