from splnode.workers.protocol import WorkerFault, worker_protocol


def test_is_read_once_and_has_the_error() -> None:
    protocol = worker_protocol()
    assert worker_protocol() is protocol
    assert protocol.name == "splnode.Worker"
    assert list(protocol.messages) == ["serve", "reload", "metrics", "stop"]
    assert [branch.label for branch in protocol.messages["serve"].errors.branches[1:]] == [WorkerFault.schema_name]
