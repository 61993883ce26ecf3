from splnode.rpc.route import ANY, Route


def test_no_wishes_is_the_default():
    assert Route() == ANY == (None, None, None, None, None, False)


def test_wishes_are_values():
    assert Route(to="kitchen") == Route(to="kitchen")
    assert len({Route(key=b"a"), Route(key=b"a"), Route(key=b"b")}) == 2
