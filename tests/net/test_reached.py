import structlog

from splnode.net.reached import Reached
from splnode.net.seldom import EVERY


def test_each_limit_is_said_now_and_then_and_always_counted() -> None:
    now = 100.0
    reached = Reached(lambda: now)
    with structlog.testing.capture_logs() as logs:
        for _ in range(5):
            reached("connections", "refused", fix="raise it", address="1.2.3.4")
        reached("handshakes", "dropped", fix="wait")
        now += EVERY
        reached("connections", "refused", fix="raise it")
    assert [(line["limit"], line["times"]) for line in logs] == [
        ("connections", 1),
        ("handshakes", 1),
        ("connections", 5),
    ]
    assert (logs[0]["event"], logs[0]["fix"], logs[0]["address"]) == ("refused", "raise it", "1.2.3.4")
    assert logs[0]["log_level"] == "warning"
    assert reached.counts == {"connections": 6, "handshakes": 1}


def test_the_limit_that_an_error_names() -> None:
    reached = Reached()
    reached.named('a datum of "(limit depth = 3)": too many values (limit nodes = 1000)')
    reached.named("the body is longer than message_bytes = 100 allows")
    reached.named("neither limit foo = 3 nor depth: 4")
    reached.count("depth")
    assert reached.counts == {"nodes": 1, "message_bytes": 1, "depth": 1}
