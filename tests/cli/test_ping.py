import pytest

from tests.cli.conftest import Shell


@pytest.mark.parametrize("place", [0, 1, 2], ids=["unix", "tcp", "http"])
def test_round_trips(shell: Shell, node: list[str], place: int) -> None:
    done = shell("ping", node[place], "-c", "3", "-i", "0.001")
    assert done.code == 0
    assert [row["endpoint"] for row in done.results] == [node[place]] * 3
    assert all(row["ms"] > 0 for row in done.results)


def test_where(shell: Shell, node: list[str], stock: str) -> None:
    assert shell("ping", to=node[0]).code == 0
    assert shell("ping", to=stock).code == 0
    done = shell("ping", node[0], to=node[0])
    assert (done.code, "given twice" in done.err) == (2, True)
    assert shell("ping", "unix:///none").code == 3
