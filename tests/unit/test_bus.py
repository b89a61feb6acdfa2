"""Facts reach every listener, in order, until it unsubscribes."""

from qubeward.bus import Bus
from qubeward.facts import Fact
from qubeward.names import QubeName

WORK = Fact(QubeName("work"))


def test_every_listener_hears_every_fact_in_order() -> None:
    bus = Bus()
    first: list[tuple[int, Fact]] = []
    second: list[tuple[int, Fact]] = []
    bus.subscribe(lambda sequence, fact: first.append((sequence, fact)))
    bus.publish(1, WORK)
    bus.subscribe(lambda sequence, fact: second.append((sequence, fact)))
    bus.publish(2, WORK)
    bus.publish(2, Fact(None))
    assert first == [(1, WORK), (2, WORK), (2, Fact(None))]
    assert second == first[1:]


def test_one_who_unsubscribed_hears_nothing_more() -> None:
    bus = Bus()
    heard: list[int] = []
    unsubscribe = bus.subscribe(lambda sequence, _: heard.append(sequence))
    bus.publish(1, WORK)
    unsubscribe()
    unsubscribe()  # twice is no error
    bus.publish(2, WORK)
    assert heard == [1]


def test_listeners_may_come_and_go_while_a_fact_is_told() -> None:
    bus = Bus()
    heard: list[str] = []

    def once(_sequence: int, _fact: Fact) -> None:
        heard.append("once")
        leave()
        bus.subscribe(lambda *_: heard.append("late"))

    leave = bus.subscribe(once)
    bus.subscribe(lambda *_: heard.append("always"))
    bus.publish(1, WORK)
    assert heard == ["once", "always"]
    bus.publish(2, WORK)
    assert heard == ["once", "always", "always", "late"]
