"""One plan at a time for a qube; several lanes without a deadlock; and being interrupted."""

import asyncio
import random
from uuid import UUID

import pytest

from qubeward.errors import QubeError
from qubeward.ops.lanes import Lanes

A, B = UUID(int=1), UUID(int=2)


async def test_one_holder_at_a_time_in_the_order_of_asking() -> None:
    lanes, order, holders = Lanes(), [], 0

    async def plan(number: int) -> None:
        nonlocal holders
        async with lanes.hold(A, "a", f"plan {number}"):
            holders += 1
            assert holders == 1
            assert lanes.holder(A) == f"plan {number}"
            order.append(number)
            await asyncio.sleep(0)
            holders -= 1

    await asyncio.gather(*(plan(number) for number in range(10)))
    assert order == list(range(10))


async def test_lanes_of_different_qubes_do_not_wait_for_each_other() -> None:
    lanes = Lanes()
    async with asyncio.timeout(1), lanes.hold(A, "a", "x"), lanes.hold(B, "b", "y"):
        assert (lanes.holder(A), lanes.holder(B)) == ("x", "y")


async def test_a_lane_that_nobody_uses_is_forgotten() -> None:
    lanes = Lanes()
    with pytest.raises(ValueError, match="out"):
        async with lanes.hold(A, "a", "x"):
            raise ValueError("out")
    assert lanes._lanes == {}
    assert lanes.holder(A) == ""


async def test_one_who_gives_up_waiting_blocks_nobody() -> None:
    lanes = Lanes()

    async def wait() -> None:
        async with lanes.hold(A, "a", "never"):
            raise AssertionError("held")

    async with lanes.hold(A, "a", "x"):
        waiting = asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    async with asyncio.timeout(1), lanes.hold(A, "a", "y"):
        pass
    assert lanes._lanes == {}


async def test_the_holder_that_is_interrupted_fails_at_its_next_step() -> None:
    lanes = Lanes()
    async with lanes.hold(A, "a", "x") as hold:
        hold.check()
        lanes.interrupt(B)
        hold.check()
        lanes.interrupt(A)
        with pytest.raises(QubeError, match="killed"):
            hold.check()
    async with lanes.hold(A, "a", "y") as hold:
        hold.check()  # the next holder is not meant


async def test_nobody_is_interrupted_beforehand() -> None:
    lanes = Lanes()
    lanes.interrupt(A)
    async with lanes.hold(A, "a", "x") as hold:
        hold.check()


async def test_several_lanes_are_taken_without_a_deadlock() -> None:
    lanes, rng = Lanes(), random.Random(1)
    uuids = [UUID(int=number) for number in range(5)]

    async def plan() -> None:
        async with lanes.hold_all(rng.sample(uuids, 3), "x"):
            await asyncio.sleep(0)

    async with asyncio.timeout(5):
        await asyncio.gather(*(plan() for _ in range(50)))
    assert lanes._lanes == {}


async def test_a_qube_named_twice_is_held_once() -> None:
    async with asyncio.timeout(1), Lanes().hold_all([A, A], "x"):
        pass
