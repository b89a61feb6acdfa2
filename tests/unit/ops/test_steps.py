"""Plans: every step, or none of them; and the journal that says which."""

import asyncio

import pytest

from qubeward.errors import StoreError
from qubeward.ops.background import Background
from qubeward.ops.steps import Plan, Step, run, survive, unwind
from world import made_world


@pytest.fixture
async def made():
    async with made_world() as world:
        yield world


class Did(list):
    """What steps did and undid, in order."""

    def step(self, name: str, error: BaseException | None = None, undo_fails: bool = False) -> Step:
        async def do() -> None:
            self.append(name)
            if error is not None:
                raise error

        async def undo() -> None:
            self.append(f"not {name}")
            if undo_fails:
                raise RuntimeError("undo")

        return Step(name, do, undo)


def land(change) -> None:
    change.set_counter("landed", 1)


def journal_rows(made) -> dict[str, object]:
    rows: dict[str, object] = {}
    for commit in made.backend.commits:
        for write in commit.writes:
            if write.table == "journal":
                rows[write.key[0]] = write.values
    return rows


async def test_steps_are_done_in_order_and_land_with_the_end_of_the_entry(made) -> None:
    did = Did()
    plan = Plan("p", {"name": "x"}, (did.step("a"), did.step("b")), land)
    await run(plan, made.world.journal)
    assert did == ["a", "b"]
    assert made.system.counters == {"landed": 1}
    last = made.backend.commits[-1].writes
    assert [write.table for write in last] == ["counter", "journal"]
    assert list(journal_rows(made).values()) == [None]


async def test_the_entry_is_stored_before_the_first_step(made) -> None:
    async def look() -> None:
        assert list(journal_rows(made).values()) == [("p", {"name": "x"})]

    await run(Plan("p", {"name": "x"}, (Step("look", look),), land), made.world.journal)


@pytest.mark.parametrize("error", [ValueError("no"), asyncio.CancelledError()])
async def test_a_failed_step_undoes_all_in_reverse(made, error) -> None:
    did = Did()
    steps = (did.step("a"), did.step("b", error), did.step("c"))
    with pytest.raises(type(error)):
        await run(Plan("p", {}, steps, land), made.world.journal)
    assert did == ["a", "b", "not c", "not b", "not a"]
    assert made.system.counters == {}
    assert list(journal_rows(made).values()) == [None]


async def test_an_undo_that_fails_keeps_no_other_from_it(made, caplog) -> None:
    did = Did()
    steps = (did.step("a"), did.step("b", undo_fails=True), did.step("c", ValueError("no")))
    with pytest.raises(ValueError, match="no"):
        await run(Plan("p", {}, steps, land), made.world.journal)
    assert did[-3:] == ["not c", "not b", "not a"]
    assert "undo of p.b" in caplog.text


async def test_what_cannot_land_is_undone(made) -> None:
    def refuse(change) -> None:
        land(change)
        raise ValueError("no")

    did = Did()
    with pytest.raises(ValueError, match="no"):
        await run(Plan("p", {}, (did.step("a"),), refuse), made.world.journal)
    assert did == ["a", "not a"]
    assert made.system.counters == {}


async def test_what_lands_and_cannot_be_stored_is_undone(made) -> None:
    async def fill() -> None:
        made.backend.failing = "full"

    did = Did()
    with pytest.raises(StoreError):
        await run(Plan("p", {}, (did.step("a"), Step("fill", fill)), land), made.world.journal)
    assert did == ["a", "not a"]
    assert made.system.counters == {}


async def test_nothing_is_begun_that_cannot_be_noted(made) -> None:
    did = Did()
    made.backend.failing = "full"
    with pytest.raises(StoreError):
        await run(Plan("p", {}, (did.step("a"),), land), made.world.journal)
    assert did == []


async def test_unwinding_twice_is_as_good_as_once() -> None:
    did = Did()
    steps = (did.step("a"), did.step("b"))
    await unwind(steps, "p")
    await unwind(steps, "p")
    assert did == ["not b", "not a"] * 2


async def test_work_in_the_background_that_fails_is_logged(caplog) -> None:
    async def fail() -> None:
        raise ValueError("no")

    await survive(fail(), "thing")
    assert "in the background: thing" in caplog.text


async def test_the_end_waits_for_work_and_for_what_that_began() -> None:
    done = []

    async def second() -> None:
        await asyncio.sleep(0.02)
        done.append(2)

    async def first() -> None:
        await asyncio.sleep(0.02)
        background.create_task(second())
        done.append(1)

    async with asyncio.TaskGroup() as group:
        background = Background(group)
        background.create_task(first())
        await background.drain(5)
        assert done == [1, 2]


async def test_the_end_waits_no_longer_than_its_grace() -> None:
    ended = []

    async def stubborn() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append("cancelled")

    async with asyncio.timeout(2), asyncio.TaskGroup() as group:
        background = Background(group)
        background.create_task(stubborn())
        await asyncio.sleep(0)
        await background.drain(0.05)
    assert ended == ["cancelled"]


async def test_the_end_does_not_wait_for_chores() -> None:
    async with asyncio.timeout(2), asyncio.TaskGroup() as group:
        background = Background(group)
        background.create_chore(asyncio.sleep(3600))
        await background.drain(60)
