from splnode.balance.pool import by_key
from splnode.discovery.resolver import Address, Instance
from splnode.endpoint import Endpoint


def instance(node: str, port: int, epoch: int = 1) -> Instance:
    return Instance((Address(Endpoint.parse(f"tcp://10.0.0.1:{port}"), "mdns"),), node=node, epoch=epoch)


def test_a_node_is_known_by_its_id_wherever_it_is():
    before, after = instance("kitchen", 1), instance("kitchen", 2, epoch=2)
    assert list(by_key(frozenset([before]))) == list(by_key(frozenset([after]))) == ["kitchen"]


def test_two_that_claim_one_id_are_two():
    one, other = instance("kitchen", 1), instance("kitchen", 2)
    assert by_key(frozenset([one, other])) == {"kitchen@tcp://10.0.0.1:1": one, "kitchen@tcp://10.0.0.1:2": other}


def test_without_an_id_it_is_the_address():
    assert list(by_key(frozenset([instance("", 1), instance("", 2)]))) == ["@tcp://10.0.0.1:1", "@tcp://10.0.0.1:2"]
