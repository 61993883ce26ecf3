"""The fuzz target with a few hundred inputs; `scripts/fuzz --only session` tries more."""

import pytest

from tests.wire import fuzz_session


@pytest.mark.parametrize("number", range(len(fuzz_session.SEEDS)))
def test_recorded_streams(number):
    fuzz_session.one(fuzz_session.SEEDS[number], number)


@pytest.mark.parametrize("block", range(10))
def test_mutations(block):
    for seed in range(block * 40, block * 40 + 40):
        fuzz_session.case(seed)
