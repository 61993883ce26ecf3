"""Each attack costs the node little, is said in its metrics, and leaves it well; see attacks.py."""

import json
import time
from collections.abc import Callable, Iterator

import pytest

from splnode.limits import DEFAULT_LIMITS
from tests.hostile.attacks import ATTACKS, CONFIGS, own_address
from tests.hostile.victim import Victim
from tests.require import require

MUCH = 50.0
"""MB above idle."""
LONG = 0.1
"""Seconds: what one message may cost, and anybody else may wait for."""
SLACK = 10
"""How often that here: a machine that does much else at the same time. `scripts/bench` holds a quiet one to LONG."""
NOMINAL = 0.023
"""Seconds of CPU that `slowness` took where LONG was measured."""
MANY = [name for name, attack in ATTACKS.items() if not attack.one]
SLOW = {name for name in MANY if not name.startswith("limit") or name == "limit: client_protocols"}


@pytest.fixture(scope="module")
def victims(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Victim]]:
    """A node with each of CONFIGS, started when it is first asked for."""
    started: dict[str, Victim] = {}
    address = own_address()

    def victim(config: str) -> Victim:
        if config not in started:
            options = ["--insecure", "--listen", f"tcp://{address}:0"] if address else []
            made = Victim(tmp_path_factory.mktemp("victim"), *options, config="drain_seconds = 0.0\n" + CONFIGS[config])
            made.start()
            started[config] = made
        return started[config]

    try:
        yield victim
        for each in started.values():
            each.stays_well()
    finally:
        for each in started.values():
            each.__exit__(None, None, None)


def slowness() -> float:
    """How many times slower than that machine this one is now; 1 at least."""
    text, total = json.dumps([{"name": f"n{number}", "type": ["null", "string"]} for number in range(20_000)]), 0
    began = time.thread_time()
    json.loads(text)
    for number in range(300_000):
        total += number & 7
    return max(1.0, (time.thread_time() - began) / NOMINAL)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in ATTACKS]
)
@pytest.mark.timeout(180)
def test_attack(victims: Callable[[str], Victim], name: str) -> None:
    attack = ATTACKS[name]
    if attack.outside:
        require(bool(own_address()), "a network", "give this machine an address beside loopback")
    victim = victims(attack.config)
    before = victim.met(attack.limit) if attack.limit else 0
    with victim.attacked(name):
        attack.run(victim)
    assert victim.peak < MUCH
    allowed = LONG * SLACK * slowness()
    if attack.one:
        assert victim.spent < allowed
    else:
        assert victim.waited["p99"] < 1000 * allowed
    assert not attack.limit or victim.met(attack.limit) > before


def test_each_limit_has_its_attack() -> None:
    assert {attack.limit for attack in ATTACKS.values()} - {""} == set(vars(DEFAULT_LIMITS))
