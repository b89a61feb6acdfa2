"""Who waits for a change, who is told of it, and in which order."""

import asyncio

import pytest

from qubeward.bus import Bus
from qubeward.errors import StoreError
from qubeward.facts import Fact, QubeHalted, TagAdded
from qubeward.model.change import Commit
from qubeward.model.system import Host, System
from qubeward.names import QubeName, TagName
from qubeward.store.memory import MemoryBackend
from qubeward.store.transaction import Ledger
from unit.model.systems import empty_system, state_of


class Slow:
    """A backend that reports when the test says so."""

    def __init__(self) -> None:
        self.submitted: list[Commit] = []
        self.retries = 0

    def load(self):
        return {}

    def begin(self, stored, failed) -> None:
        self.stored, self.failed = stored, failed

    def submit(self, commit: Commit) -> None:
        self.submitted.append(commit)

    def retry(self) -> None:
        self.retries += 1

    def close(self) -> None:
        pass


@pytest.fixture
def slow():
    made = Slow()
    made.system = empty_system()
    bus = Bus()
    made.told: list[tuple[int, Fact]] = []
    bus.subscribe(lambda sequence, fact: made.told.append((sequence, fact)))
    made.ledger = Ledger(made.system, made, bus)
    return made


def tag(system: System, name: str) -> int:
    with system.change() as change:
        change.add_tag(system.admin, TagName(name))
    return system.sequence


def test_facts_go_out_once_the_change_is_stored_with_its_number(slow) -> None:
    first, second = tag(slow.system, "a"), tag(slow.system, "b")
    assert slow.told == []
    slow.stored(first)
    assert slow.told == [(first, TagAdded("dom0", TagName("a")))]
    slow.stored(second)
    assert slow.told[1:] == [(second, TagAdded("dom0", TagName("b")))]
    assert slow.ledger.stored == second


def test_waiters_are_woken_in_order_each_for_its_number(slow) -> None:
    woken: list[tuple[str, StoreError | None]] = []
    first = tag(slow.system, "a")
    slow.ledger.when_stored(first, lambda error: woken.append(("a", error)))
    second = tag(slow.system, "b")
    slow.ledger.when_stored(second, lambda error: woken.append(("b", error)))
    slow.ledger.when_stored(second, lambda error: woken.append(("b, a read", error)))
    slow.stored(first)
    assert woken == [("a", None)]
    slow.stored(second)
    assert woken[1:] == [("b", None), ("b, a read", None)]


def test_a_waiter_for_what_is_stored_is_called_at_once(slow) -> None:
    woken = []
    slow.ledger.when_stored(slow.system.sequence, woken.append)
    sequence = tag(slow.system, "a")
    slow.stored(sequence)
    slow.ledger.when_stored(sequence, woken.append)
    assert woken == [None, None]


def test_facts_are_told_before_their_waiters_are_answered(slow) -> None:
    order = []
    sequence = tag(slow.system, "a")
    slow.ledger.when_stored(sequence, lambda _: order.append(len(slow.told)))
    slow.stored(sequence)
    assert order == [1]


def test_a_failure_undoes_all_that_is_not_stored_in_reverse(slow) -> None:
    woken = []
    first = tag(slow.system, "a")
    between = state_of(slow.system)
    for name in ("b", "c", "d"):
        slow.ledger.when_stored(tag(slow.system, name), woken.append)
    slow.stored(first)
    slow.failed("no room")
    assert state_of(slow.system) == between
    assert [str(error) for error in woken] == [
        "The change could not be stored and was undone: no room"
    ] * 3
    assert len(slow.told) == 1
    assert slow.ledger.broken == "no room"


def test_broken_means_refused_and_probed_until_it_works(slow) -> None:
    tag(slow.system, "a")
    slow.failed("no room")
    for number in (1, 2):
        with pytest.raises(StoreError, match="no room"):
            tag(slow.system, "b")
        assert slow.retries == number
    slow.stored(0)
    assert slow.ledger.broken is None
    woken = []
    sequence = tag(slow.system, "c")
    slow.ledger.when_stored(sequence, woken.append)
    assert woken == []  # the probe's word is not this change's
    slow.stored(sequence)
    assert woken == [None]


def test_a_read_after_a_failure_is_answered(slow) -> None:
    tag(slow.system, "a")
    slow.failed("no room")
    woken = []
    slow.ledger.when_stored(slow.system.sequence, woken.append)
    assert woken == [None]


async def test_the_memory_store_fails_as_a_disk_does() -> None:
    backend, system = MemoryBackend(), empty_system()
    ledger = Ledger(system, backend, Bus())
    before = state_of(system)
    backend.failing = "disk full"
    woken: list[StoreError | None] = []
    ledger.when_stored(tag(system, "a"), woken.append)
    ledger.when_stored(tag(system, "b"), woken.append)
    await asyncio.sleep(0)
    assert [type(error) for error in woken] == [StoreError, StoreError]
    assert state_of(system) == before
    with pytest.raises(StoreError, match="disk full"):
        tag(system, "c")
    backend.failing = None
    with pytest.raises(StoreError, match="disk full"):
        tag(system, "c")
    await asyncio.sleep(0)
    ledger.when_stored(tag(system, "d"), woken.append)
    assert woken[-1] is None
    assert backend.load() == {}
    backend.close()


async def test_a_listener_that_breaks_leaves_no_caller_without_its_answer() -> None:
    class LaterBackend(MemoryBackend):
        """Reports from the event loop, as the one on disk does."""

        def submit(self, commit: Commit) -> None:
            if commit.sequence == 2:  # both land together
                loop.call_soon(self._stored, commit.sequence)

    system, bus = System(Host(1024, 1)), Bus()
    ledger = Ledger(system, LaterBackend(), bus)

    def breaks(_sequence: int, _fact: object) -> None:
        raise ValueError("a bug")

    loop, broken, answers = asyncio.get_running_loop(), [], []
    loop.set_exception_handler(lambda _loop, context: broken.append(context["exception"]))
    bus.subscribe(breaks)
    for number in range(2):
        with system.change() as change:
            change.tell(QubeHalted(QubeName(f"q{number}")))
        ledger.when_stored(system.sequence, answers.append)
    for _ in range(10):
        await asyncio.sleep(0)
    assert answers == [None, None]
    assert broken
