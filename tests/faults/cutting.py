"""Operations, and the world cut at each of their effects."""

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from faults.machine import WAYS, Booted, Cut, Machine
from qubeward.model.qube import Qube
from qubeward.names import QubeName
from qubeward.ops.create import create
from qubeward.ops.start import start
from qubeward.spec.classes import CLASSES
from qubeward.spec.new_qube import NewQube

LABEL = "red"
# The pool of files is slower: in two of the ways for ./check, in all of them for make test.
SLOW = pytest.mark.slow
WAYS_OF_POOLS = [
    *(pytest.param("memory", way) for way in WAYS),
    pytest.param("file", "fails after", marks=SLOW),
    pytest.param("file", "fails before", marks=SLOW),
    pytest.param("file", "dies before", marks=SLOW),
    pytest.param("file", "dies after"),
    *(pytest.param("qcow2", way, marks=SLOW) for way in WAYS),
]


async def make(booted: Booted, name: str, klass: str, template: str | None = None) -> None:
    chosen = None if template is None else QubeName(template)
    new = NewQube(QubeName(name), LABEL)
    await create(booted.world, QubeName("dom0"), CLASSES[klass], chosen, new)


def work(booted: Booted) -> Qube:
    return booted.world.system.qube("work")


@dataclass(frozen=True)
class Operation:
    """What is done, how to see that it is done, and whether `work` runs before.

    `before` makes what the operation needs.
    """

    act: Callable[[Booted], Coroutine[Any, Any, None]]
    is_done: Callable[[Booted], Awaitable[bool]]
    started: bool = False
    before: Callable[[Booted], Coroutine[Any, Any, None]] | None = None


async def furnish(machine: Machine, operation: Operation) -> None:
    """Make a template and a qube, and what the operation needs."""
    async with machine.boot() as booted:
        await make(booted, "tpl", "TemplateVM")
        await make(booted, "work", "AppVM", "tpl")
        if operation.before is not None:
            await operation.before(booted)
        if operation.started:
            await start(booted.world, work(booted))


async def effects(operation: Operation, machine: Machine) -> list[str]:
    await furnish(machine, operation)
    async with machine.boot() as booted:
        before = len(booted.cut.seen)
        await operation.act(booted)
        await booted.settle()
        assert await operation.is_done(booted)
        await booted.check_no_orphans()
        return booted.cut.seen[before:]


async def cut_once(
    operation: Operation, machine: Machine, way: str, at: int, recoveries: int
) -> None:
    await furnish(machine, operation)
    cut = Cut()
    async with machine.boot(cut) as booted:
        cut.at, cut.way = len(cut.seen) + at, way
        acknowledged = await booted.attempt(operation.act(booted))
        if not cut.is_dead:
            await booted.settle()
            assert await operation.is_done(booted) or not acknowledged
            assert not booted.world.reserved
            assert not booted.world.starting
    async with machine.boot(recoveries=recoveries) as booted:
        assert await operation.is_done(booted) or not acknowledged
        await booted.check_no_orphans()
        if not await operation.is_done(booted):  # what was cut off can be done now
            await operation.act(booted)
            await booted.settle()
        assert await operation.is_done(booted)
        await booted.check_no_orphans()


async def cut_everywhere(operation: Operation, way: str, pool: str, tmp_path: Path) -> None:
    count = len(await effects(operation, Machine(tmp_path / "dry", pool)))
    assert count
    for at in range(count):
        try:
            await cut_once(operation, Machine(tmp_path / f"{at}", pool), way, at, recoveries=1)
        except AssertionError as error:
            raise AssertionError(f"cut at effect {at} of {count}") from error
