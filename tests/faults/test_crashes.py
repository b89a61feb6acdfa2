"""Every operation, cut at every effect, in every way, leaves the world whole."""

from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from faults.machine import WAYS, Booted, Cut, DiedError, Machine
from qubeward.errors import AdminError
from qubeward.names import QubeName, VolumeName
from qubeward.ops import imports, steps
from qubeward.ops.create import create, remove
from qubeward.ops.power import kill, shutdown
from qubeward.ops.start import start
from qubeward.spec.classes import CLASSES
from qubeward.spec.vm_body import NewQube, ShutdownOptions
from qubeward.spec.volume import ImportResult

LABEL = "red"
# The pool of files is slower: in two of the ways for ./check, in all of them for make test.
SLOW = pytest.mark.slow
WAYS_OF_POOLS = [
    *(pytest.param("memory", way) for way in WAYS),
    pytest.param("file", "fails after", marks=SLOW),
    pytest.param("file", "fails before", marks=SLOW),
    pytest.param("file", "dies before", marks=SLOW),
    pytest.param("file", "dies after"),
]


async def make(booted: Booted, name: str, klass: str, template: str | None = None) -> None:
    chosen = None if template is None else QubeName(template)
    new = NewQube(QubeName(name), LABEL)
    await create(booted.world, QubeName("dom0"), CLASSES[klass], chosen, new)


def work(booted: Booted):
    return booted.world.system.qube("work")


async def _create_app(booted: Booted) -> None:
    await make(booted, "new", "AppVM", "tpl")


async def _create_template(booted: Booted) -> None:
    await make(booted, "new", "TemplateVM")


async def _remove(booted: Booted) -> None:
    await remove(booted.world, work(booted))


async def _start(booted: Booted) -> None:
    await start(booted.world, work(booted))


async def _shutdown(booted: Booted) -> None:
    await shutdown(booted.world, work(booted), ShutdownOptions(wait=True))


async def _kill(booted: Booted) -> None:
    await kill(booted.world, work(booted))


async def _power_off(booted: Booted) -> None:
    booted.machine.hypervisor.end(work(booted).uuid)
    await booted.settle()


async def _import(booted: Booted) -> None:
    """Replace a volume by a larger one that begins with a mark."""
    name = VolumeName("private")
    target = await imports.begin(booted.world, work(booted), name, 3 << 30)
    with (booted.machine.root / target.path.lstrip("/")).open("r+b") as file:
        file.write(b"imported")
    await imports.end(booted.world, work(booted), name, ImportResult(success=True))


def _is_imported(booted: Booted) -> bool:
    committed = booted.machine.root / "var/lib/qubes/appvms/work/private.img"
    with committed.open("rb") as file:
        return file.read(8) == b"imported"


def _is_new(booted: Booted) -> bool:
    return "new" in booted.world.system.qubes


def _is_gone(booted: Booted) -> bool:
    return "work" not in booted.world.system.qubes


def _is_on(booted: Booted) -> bool:
    return not work(booted).power.is_halted


def _is_off(booted: Booted) -> bool:
    return work(booted).power.is_halted


@dataclass(frozen=True)
class Operation:
    """What is done, how to see that it is done, and whether `work` runs before."""

    act: Callable[[Booted], Coroutine[Any, Any, None]]
    is_done: Callable[[Booted], bool]
    started: bool = False


OPERATIONS = {
    "create an AppVM": Operation(_create_app, _is_new),
    "create a TemplateVM": Operation(_create_template, _is_new),
    "remove": Operation(_remove, _is_gone),
    "start": Operation(_start, _is_on),
    "shutdown": Operation(_shutdown, _is_off, started=True),
    "kill": Operation(_kill, _is_off, started=True),
    "power off from inside": Operation(_power_off, _is_off, started=True),
}


async def furnish(machine: Machine, *, started: bool) -> None:
    async with machine.boot() as booted:
        await make(booted, "tpl", "TemplateVM")
        await make(booted, "work", "AppVM", "tpl")
        if started:
            await _start(booted)


async def effects(operation: Operation, machine: Machine) -> list[str]:
    await furnish(machine, started=operation.started)
    async with machine.boot() as booted:
        before = len(booted.cut.seen)
        await operation.act(booted)
        await booted.settle()
        assert operation.is_done(booted)
        await booted.check_no_orphans()
        return booted.cut.seen[before:]


async def cut_once(
    operation: Operation, machine: Machine, way: str, at: int, recoveries: int
) -> None:
    await furnish(machine, started=operation.started)
    cut = Cut()
    async with machine.boot(cut) as booted:
        cut.at, cut.way = len(cut.seen) + at, way
        acknowledged = await booted.attempt(operation.act(booted))
        if not cut.is_dead:
            await booted.settle()
            assert operation.is_done(booted) or not acknowledged
            assert not booted.world.reserved
            assert not booted.world.starting
    async with machine.boot(recoveries=recoveries) as booted:
        assert operation.is_done(booted) or not acknowledged
        await booted.check_no_orphans()
        if not operation.is_done(booted):  # what was cut off can be done now
            await operation.act(booted)
            await booted.settle()
        assert operation.is_done(booted)
        await booted.check_no_orphans()


@pytest.mark.parametrize(("pool", "way"), WAYS_OF_POOLS)
@pytest.mark.parametrize("name", OPERATIONS)
async def test_nothing_is_left_half_done(name, way, pool, tmp_path) -> None:
    await cut_everywhere(OPERATIONS[name], way, pool, tmp_path)


@pytest.mark.parametrize("way", WAYS)
async def test_no_import_is_left_half_done(way, tmp_path) -> None:
    # The memory pool's side files are none that another process could fill.
    await cut_everywhere(Operation(_import, _is_imported), way, "file", tmp_path)


async def cut_everywhere(operation: Operation, way: str, pool: str, tmp_path: Path) -> None:
    count = len(await effects(operation, Machine(tmp_path / "dry", pool)))
    assert count
    for at in range(count):
        try:
            await cut_once(operation, Machine(tmp_path / f"{at}", pool), way, at, recoveries=1)
        except AssertionError as error:
            raise AssertionError(f"cut at effect {at} of {count}") from error


@pytest.mark.parametrize("name", OPERATIONS)
async def test_recovery_may_be_repeated(name, tmp_path) -> None:
    operation = OPERATIONS[name]
    count = len(await effects(operation, Machine(tmp_path / "dry", "memory")))
    for at in range(count):
        await cut_once(operation, Machine(tmp_path / f"{at}", "memory"), "dies after", at, 2)


@pytest.mark.parametrize(
    "name", [n if n in ("start", "remove") else pytest.param(n, marks=SLOW) for n in OPERATIONS]
)
async def test_a_crash_during_recovery_is_recovered_from(name, tmp_path) -> None:
    """The daemon dies in the operation, and again in the recovery, at each of its effects."""
    operation = OPERATIONS[name]
    count = len(await effects(operation, Machine(tmp_path / "dry", "memory")))
    for at in range(count):
        for again in range(20):
            machine = Machine(tmp_path / f"{at}-{again}", "memory")
            await furnish(machine, started=operation.started)
            cut = Cut()
            async with machine.boot(cut) as booted:
                cut.at, cut.way = len(cut.seen) + at, "dies after"
                await booted.attempt(operation.act(booted))
            second = Cut(at=again, way="dies before")
            with suppress(DiedError):
                async with machine.boot(second):
                    pass
            async with machine.boot() as booted:
                await booted.check_no_orphans()
            if not second.is_dead:
                break


@pytest.mark.parametrize("pool", ["memory", pytest.param("file", marks=SLOW)])
@pytest.mark.parametrize("way", WAYS[:2])
@pytest.mark.parametrize("name", ["create an AppVM", "create a TemplateVM", "start"])
async def test_every_undo_may_run_twice(name, way, pool, tmp_path, monkeypatch) -> None:
    once = steps.unwind

    async def twice(*args) -> None:
        await once(*args)
        await once(*args)

    monkeypatch.setattr(steps, "unwind", twice)
    operation = OPERATIONS[name]
    count = len(await effects(operation, Machine(tmp_path / "dry", pool)))
    for at in range(count):
        await cut_once(operation, Machine(tmp_path / f"{at}", pool), way, at, recoveries=1)


async def test_a_removal_that_failed_never_takes_a_later_qube_of_that_name(tmp_path) -> None:
    machine = Machine(tmp_path, "memory")
    await furnish(machine, started=False)
    cut = Cut()
    async with machine.boot(cut) as booted:
        pool = "pool varlibqubes.remove"
        cut.way = "fails before"
        cut.at = len(cut.seen) + 1  # the commit, then the first volume
        with pytest.raises(AdminError):
            await _remove(booted)
        assert cut.seen[cut.at] == pool
        await make(booted, "work", "AppVM", "tpl")
    async with machine.boot() as booted:
        await booted.check_no_orphans()
        assert "work" in booted.world.system.qubes
