import pytest

from splnode.avro.protocol import Protocol
from splnode.services.reflection import NotFound, ReflectionService
from tests.services.conftest import PROTOCOLS, Serve


def served() -> list[Protocol]:
    names = ("splnode.Reflection", "splnode.Health", "SPLDataService")
    extra = Protocol.parse('{"protocol": "Health", "namespace": "other", "messages": {}}')
    return [*(Protocol.load(PROTOCOLS / f"{name}.avpr") for name in names), extra]


async def schema_of(fingerprint: str) -> str | None:
    return '"string"' if fingerprint == "00ff" else None


async def test_protocols_are_listed(serve: Serve) -> None:
    client = serve("splnode.Reflection", ReflectionService(served))
    listed = await client.listProtocols()
    assert [each["name"] for each in listed] == [
        "SPLDataService",
        "other.Health",
        "splnode.Health",
        "splnode.Reflection",
    ]
    health = listed[2]
    assert health["messages"] == ["check", "watch", "list"]
    assert "whether the node" in health["doc"]
    assert len(health["md5"]) == 32


async def test_texts_by_name_and_fingerprint(serve: Serve) -> None:
    client = serve("splnode.Reflection", ReflectionService(served), NotFound)
    text = (PROTOCOLS / "splnode.Health.avpr").read_text()
    info = (await client.listProtocols())[2]
    for name in ("splnode.Health", info["md5"], info["md5"].upper(), info["wire"], info["resolution"]):
        assert await client.getProtocol(name=name) == text
    assert "SPLDataService" in await client.getProtocol(name="SPLDataService")
    assert "Reflection" in await client.getProtocol(name="Reflection")
    with pytest.raises(NotFound, match="short name of more than one"):
        await client.getProtocol(name="Health")
    with pytest.raises(NotFound, match="served here: SPLDataService, other"):
        await client.getProtocol(name="Nothing")


async def test_schemas_of_records(serve: Serve) -> None:
    client = serve("splnode.Reflection", ReflectionService(served, [schema_of]), NotFound)
    assert await client.getSchema(fingerprint="00FF") == '"string"'
    with pytest.raises(NotFound, match="1111"):
        await client.getSchema(fingerprint="1111")
