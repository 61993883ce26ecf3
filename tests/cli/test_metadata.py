import pytest

from splnode.cli.failure import UsageError
from splnode.cli.metadata import expand, read_headers, shown


def test_headers() -> None:
    assert read_headers(["a: b", "c:d", "e: f: g ", "a: z", "empty:"]) == {
        "a": b"z", "c": b"d", "e": b"f: g", "empty": b"",
    }  # fmt: skip


def test_a_profile_comes_first() -> None:
    assert read_headers(["a: 2"], {"a": "1", "b": "ä"}) == {"a": b"2", "b": "ä".encode()}


def test_the_environment_is_put_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "secret")
    assert read_headers(["authorization: Bearer ${TOKEN}"]) == {"authorization": b"Bearer secret"}
    assert expand("$TOKEN ${") == "$TOKEN ${"
    monkeypatch.delenv("TOKEN")
    with pytest.raises(UsageError, match="the environment has no TOKEN"):
        read_headers(["a: ${TOKEN}"])


@pytest.mark.parametrize("line", ["no colon", ": v", ""])
def test_what_is_no_header_is_refused(line: str) -> None:
    with pytest.raises(UsageError, match="a header is 'key: value'"):
        read_headers([line])


def test_shown() -> None:
    assert shown({"a": b"b", "c": b"\xff"}) == {"a": "b", "c": "\\xff"}
