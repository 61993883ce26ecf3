from tests.cli.conftest import Shell


def test_a_record_is_what_is_in_it(shell: Shell, node: list[str]) -> None:
    done = shell("call", "Echo.open", "-d", '{"value": {"a": [1, {"b": null}]}}', to=node[0])
    assert done.results == [{"a": [1, {"b": None}]}]


def test_the_schema_of_a_record_is_asked_of_the_node(shell: Shell, node: list[str]) -> None:
    done = shell("call", "Echo.record", "-d", '{"kind": "known"}{"kind": "known"}', to=node[0])
    assert done.results == [{"degrees": 21.5}] * 2


def test_a_record_that_nobody_knows_keeps_its_bytes(shell: Shell, node: list[str], stock: str) -> None:
    for to, kind in ((node[0], "lost"), (stock, "known")):
        [found] = shell("call", "Echo.record", "-d", f'{{"kind": "{kind}"}}', to=to).results
        assert found["schema"] == ("Lost" if kind == "lost" else "Celsius")
        assert found["data"]["base64"].startswith("wwG")
