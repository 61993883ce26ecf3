"""splnode.rpc.naming: attributes and arguments."""

import pytest

from splnode.avro.protocol import Protocol
from splnode.errors import CallError, Code
from splnode.rpc.naming import by_position, find_message, message_of

PROTOCOL = Protocol.parse(
    '{"protocol": "Shop", "types": [], "messages": {'
    '"buy": {"request": [], "response": "null"}, "import": {"request": [], "response": "null"},'
    '"late_": {"request": [], "response": "null"}}}'
)


def test_a_message_by_its_name() -> None:
    assert find_message(PROTOCOL, "buy").name == "buy"
    with pytest.raises(CallError, match="Shop has no message 'sell'; it has buy, import, late_") as caught:
        find_message(PROTOCOL, "sell")
    assert (caught.value.code, caught.value.started) == (Code.UNIMPLEMENTED, False)


@pytest.mark.parametrize(("attribute", "name"), [("buy", "buy"), ("import_", "import"), ("late_", "late_")])
def test_a_message_by_an_attribute(attribute: str, name: str) -> None:
    assert message_of(PROTOCOL, attribute).name == name


@pytest.mark.parametrize(("attribute", "text"), [("buy_", "it has buy"), ("late", "no message")])
def test_an_attribute_that_is_no_message(attribute: str, text: str) -> None:
    with pytest.raises(AttributeError, match=text):
        message_of(PROTOCOL, attribute)


def test_parameters_by_position_and_by_name() -> None:
    assert by_position("buy", ("what", "count"), ("tea",), {"count": 2}) == {"what": "tea", "count": 2}
    with pytest.raises(TypeError, match=r"buy takes 2 parameters \(what, count\), 3 were given"):
        by_position("buy", ("what", "count"), (1, 2, 3), {})
    with pytest.raises(TypeError, match="buy: 'what' is given by position and by name"):
        by_position("buy", ("what", "count"), (1,), {"what": 2})
