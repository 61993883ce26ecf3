import pytest

from tests.cli.conftest import Shell


@pytest.mark.parametrize(
    ("service", "full", "status", "code"),
    [
        ((), "", "SERVING", 0),
        (("test.Echo",), "test.Echo", "SERVING", 0),
        (("Echo",), "test.Echo", "SERVING", 0),
        (("Tired",), "test.Tired", "NOT_SERVING", 1),
        (("Nope",), "Nope", "SERVICE_UNKNOWN", 1),
    ],
)
def test_states(shell: Shell, node: list[str], service: tuple[str, ...], full: str, status: str, code: int) -> None:
    done = shell("health", *service, to=node[0])
    assert (done.code, done.results) == (code, [{"service": full, "status": status}])


def test_nobody_there(shell: Shell) -> None:
    assert shell("health").code == 3


def test_a_server_without_health(shell: Shell, stock: str) -> None:
    done = shell("health", to=stock)
    assert done.code == 3
    assert "does not serve splnode.Health; it serves test.Echo" in done.err
