from splnode.rpc.call import Call
from splnode.rpc.interceptor import Beside, Proceed, chain
from tests.rpc.test_call import a_call


def named(name: str, seen: list[str]) -> object:
    async def interceptor(call: Call, proceed: Proceed) -> object:
        seen.append(f"{name} in")
        try:
            return f"{name}({await proceed(call)})"
        finally:
            seen.append(f"{name} out")

    return interceptor


async def test_the_first_is_the_outermost() -> None:
    seen: list[str] = []

    async def innermost(call: Call) -> object:
        seen.append("handler")
        return "x"

    proceed = chain([named("a", seen), named("b", seen)], innermost)  # type: ignore[list-item]  # a plain function will do
    assert await proceed(a_call(1)) == "a(b(x))"
    assert seen == ["a in", "b in", "handler", "b out", "a out"]


async def test_none_is_the_handler_itself() -> None:
    async def innermost(call: Call) -> object:
        return "x"

    assert chain([], innermost) is innermost


async def test_what_stands_beside_each_call() -> None:
    seen: list[dict[str, bytes]] = []

    async def innermost(call: Call) -> object:
        seen.append(dict(call.metadata))
        return None

    through = chain([Beside({"a": b"1", "b": b"1"})], innermost)
    await through(a_call(1))
    await through(a_call(1, {"b": b"2"}))
    assert seen == [{"a": b"1", "b": b"1"}, {"a": b"1", "b": b"2"}]
