from splnode.wire.cache import BoundedCache


def test_least_recently_used_goes_first():
    cache = BoundedCache(2, 100)
    cache.put("a", 1, 1)
    cache.put("b", 2, 1)
    assert cache.get("a") == 1
    cache.put("c", 3, 1)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (1, None, 3)
    assert len(cache) == 2


def test_weight_is_bounded_too():
    cache = BoundedCache(10, 100)
    cache.put("a", 1, 60)
    cache.put("b", 2, 60)
    assert (cache.get("a"), cache.get("b")) == (None, 2)
    cache.put("b", 3, 30)
    cache.put("c", 4, 70)
    assert (cache.get("b"), cache.get("c")) == (3, 4)
    cache.put("d", 5, 101)
    assert cache.get("d") is None
    assert len(cache) == 2
