"""Every operation on qubes, cut at every effect, in every way, leaves the world whole."""

from contextlib import suppress

import pytest

from faults.cutting import (
    SLOW,
    WAYS_OF_POOLS,
    Operation,
    cut_everywhere,
    cut_once,
    effects,
    furnish,
    make,
    work,
)
from faults.machine import WAYS, Booted, Cut, DiedError, Machine
from qubeward.errors import AdminError
from qubeward.names import VolumeName
from qubeward.ops import imports, steps
from qubeward.ops.create import remove
from qubeward.ops.power import kill, shutdown
from qubeward.ops.start import start
from qubeward.spec.vm_body import ShutdownOptions
from qubeward.spec.volume_body import ImportResult


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


async def _is_imported(booted: Booted) -> bool:
    committed = booted.machine.root / "var/lib/qubes/appvms/work/private.img"
    with committed.open("rb") as file:
        return file.read(8) == b"imported"


async def _is_new(booted: Booted) -> bool:
    return "new" in booted.world.system.qubes


async def _is_gone(booted: Booted) -> bool:
    return "work" not in booted.world.system.qubes


async def _is_on(booted: Booted) -> bool:
    return not work(booted).power.is_halted


async def _is_off(booted: Booted) -> bool:
    return work(booted).power.is_halted


OPERATIONS = {
    "create an AppVM": Operation(_create_app, _is_new),
    "create a TemplateVM": Operation(_create_template, _is_new),
    "remove": Operation(_remove, _is_gone),
    "start": Operation(_start, _is_on),
    "shutdown": Operation(_shutdown, _is_off, started=True),
    "kill": Operation(_kill, _is_off, started=True),
    "power off from inside": Operation(_power_off, _is_off, started=True),
}


@pytest.mark.parametrize(("pool", "way"), WAYS_OF_POOLS)
@pytest.mark.parametrize("name", OPERATIONS)
async def test_nothing_is_left_half_done(name, way, pool, tmp_path) -> None:
    await cut_everywhere(OPERATIONS[name], way, pool, tmp_path)


@pytest.mark.parametrize("way", WAYS)
async def test_no_import_is_left_half_done(way, tmp_path) -> None:
    # The memory pool's side files are none that another process could fill.
    await cut_everywhere(Operation(_import, _is_imported), way, "file", tmp_path)


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
            await furnish(machine, operation)
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
    await furnish(machine, OPERATIONS["remove"])
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
