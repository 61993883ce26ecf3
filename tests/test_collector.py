import gc

import pytest

from splnode.collector import CollectorPaused


def test_it_is_off_meanwhile_and_as_before_afterwards() -> None:
    with CollectorPaused():
        assert not gc.isenabled()
        with CollectorPaused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_it_is_on_again_after_an_error() -> None:
    with pytest.raises(KeyError), CollectorPaused():
        raise KeyError
    assert gc.isenabled()
