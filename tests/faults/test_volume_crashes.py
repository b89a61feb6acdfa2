"""Every operation on volumes, clones and pools, cut at every effect, leaves the world whole."""

from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from faults.cutting import LABEL, SLOW, Operation, cut_everywhere, cut_once, effects, work
from faults.machine import WAYS, Booted, Machine
from qubeward.host.threads import Threads
from qubeward.names import PoolName, QubeName, VolumeName
from qubeward.ops import imports, steps, volume, volume_settings
from qubeward.ops import pool as pools
from qubeward.ops.create import clone, create, create_template
from qubeward.ops.tokens import Origin
from qubeward.server.incoming import ChunksIncoming
from qubeward.spec.classes import CLASSES
from qubeward.spec.new_qube import NewClone, NewQube
from qubeward.spec.pool import NewPool

MIB = 1 << 20
DOM0 = QubeName("dom0")
PRIVATE = VolumeName("private")
OLD, NEW = b"old content", b"new content"
THREADS = Threads("incoming", 2)


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def incoming(data: bytes) -> ChunksIncoming:
    return ChunksIncoming(chunks(data[:4], data[4:]), THREADS, 5)


async def content(booted: Booted, qube: str, name: str = "private") -> bytes:
    """Read the beginning of what is committed."""
    found = booted.world.system.qube(qube).volumes[VolumeName(name)]
    driver, spec = booted.machine.drivers[found.pool], booted.world.pools.spec(found)
    path = await driver.export_begin(spec)
    with path.open("rb") as file:
        data = file.read(len(OLD))
    await driver.export_end(spec)
    return data


def size(booted: Booted, qube: str = "work") -> int:
    return booted.world.system.qube(qube).volumes[PRIVATE].size_bytes


async def write_old(booted: Booted) -> None:
    await imports.receive(booted.world, work(booted), PRIVATE, len(OLD), incoming(OLD))


async def add_pool(booted: Booted, name: str) -> None:
    options = (("dir_path", f"/srv/{name}"),)
    await pools.add(booted.world, DOM0, "file", NewPool(PoolName(name), options))


# What is done.


async def _receive(booted: Booted) -> None:
    await imports.receive(booted.world, work(booted), PRIVATE, len(NEW), incoming(NEW))


async def _is_received(booted: Booted) -> bool:
    return await content(booted, "work") == NEW and size(booted) == len(NEW)


async def _resize(booted: Booted) -> None:
    await volume.resize(booted.world, work(booted), PRIVATE, MIB)


async def _is_resized(booted: Booted) -> bool:
    assert await content(booted, "work") == OLD
    return size(booted) == MIB


async def _resize_running(booted: Booted) -> None:
    await volume.resize(booted.world, work(booted), PRIVATE, 8 << 30)


async def _is_large(booted: Booted) -> bool:
    return size(booted) == 8 << 30


async def _with_snapshot(booted: Booted) -> None:
    await write_old(booted)
    with booted.world.system.change() as change:
        volume_settings.set_revisions_to_keep(change, booted.world, work(booted), PRIVATE, 1)
    await _receive(booted)


async def _revert(booted: Booted) -> None:
    found = await volume.revisions(booted.world, work(booted), PRIVATE)
    await volume.revert(booted.world, work(booted), PRIVATE, found[0].id)


async def _is_reverted(booted: Booted) -> bool:
    return await content(booted, "work") == OLD


async def _snapshot(booted: Booted) -> None:
    await volume.snapshot(booted.world, work(booted), PRIVATE)


async def _has_snapshot(booted: Booted) -> bool:
    assert await content(booted, "work") == OLD
    return bool(await volume.revisions(booted.world, work(booted), PRIVATE))


async def _without_revisions(booted: Booted) -> None:
    await write_old(booted)
    with booted.world.system.change() as change:
        volume_settings.set_revisions_to_keep(change, booted.world, work(booted), PRIVATE, 0)
    await write_old(booted)


async def _clear(booted: Booted) -> None:
    await volume.clear(booted.world, work(booted), PRIVATE)


async def _is_clear(booted: Booted) -> bool:
    assert size(booted) == len(OLD)
    return await content(booted, "work") == bytes(len(OLD))


async def _with_another(booted: Booted) -> None:
    await write_old(booted)
    new = NewQube(QubeName("target"), LABEL)
    await create(booted.world, DOM0, CLASSES["AppVM"], QubeName("tpl"), new)


async def _with_another_elsewhere(booted: Booted) -> None:
    await write_old(booted)
    await add_pool(booted, "other")
    placed = (("private", PoolName("other")),)
    new = NewQube(QubeName("target"), LABEL, placed)
    await create(booted.world, DOM0, CLASSES["AppVM"], QubeName("tpl"), new)


async def _clone_volume(booted: Booted) -> None:
    token = booted.world.tokens.give(Origin(work(booted).uuid, PRIVATE))
    target = booted.world.system.qube("target")
    await volume.clone_to(booted.world, target, PRIVATE, token)


async def _is_volume_cloned(booted: Booted) -> bool:
    return await content(booted, "target") == OLD and size(booted, "target") == len(OLD)


async def _clone(booted: Booted) -> None:
    await clone(booted.world, DOM0, work(booted), NewClone(QubeName("copy")))


async def _clone_elsewhere(booted: Booted) -> None:
    placed = (("private", PoolName("other")),)
    await clone(booted.world, DOM0, work(booted), NewClone(QubeName("copy"), placed))


async def _with_other_pool(booted: Booted) -> None:
    await write_old(booted)
    await add_pool(booted, "other")


async def _is_cloned(booted: Booted) -> bool:
    if "copy" not in booted.world.system.qubes:
        return False
    assert await content(booted, "copy") == OLD
    assert size(booted, "copy") == len(OLD)
    return True


async def _create_template(booted: Booted) -> None:
    await create_template(booted.world, DOM0, QubeName("tpl2"), incoming(NEW))


async def _is_template(booted: Booted) -> bool:
    if "tpl2" not in booted.world.system.qubes:
        return False
    assert await content(booted, "tpl2", "root") == NEW
    return True


async def _add_pool(booted: Booted) -> None:
    await add_pool(booted, "new-pool")


async def _has_pool(booted: Booted) -> bool:
    return "new-pool" in booted.world.system.pools


async def _remove_pool(booted: Booted) -> None:
    await pools.remove(booted.world, DOM0, PoolName("new-pool"))


async def _has_no_pool(booted: Booted) -> bool:
    return not await _has_pool(booted)


OPERATIONS = {
    "import": Operation(_receive, _is_received, before=write_old),
    "resize": Operation(_resize, _is_resized, before=write_old),
    "resize while it runs": Operation(_resize_running, _is_large, started=True),
    "revert": Operation(_revert, _is_reverted, before=_with_snapshot),
    "snapshot": Operation(_snapshot, _has_snapshot, before=_without_revisions),
    "clear": Operation(_clear, _is_clear, before=write_old),
    "clone a volume": Operation(_clone_volume, _is_volume_cloned, before=_with_another),
    "copy a volume to another pool": Operation(
        _clone_volume, _is_volume_cloned, before=_with_another_elsewhere
    ),
    "clone a qube": Operation(_clone, _is_cloned, before=write_old),
    "clone a qube to another pool": Operation(
        _clone_elsewhere, _is_cloned, before=_with_other_pool
    ),
    "create a template of an image": Operation(_create_template, _is_template),
    "add a pool": Operation(_add_pool, _has_pool),
    "remove a pool": Operation(_remove_pool, _has_no_pool, before=_add_pool),
}
#: Of these the daemon's own test hypervisor knows the sizes that a file would have.
ONLY_IN_MEMORY = {"resize while it runs"}
#: Those in ./check; the rest is in make test.
QUICK = {("memory", "dies after")}
CASES = [
    pytest.param(name, pool, way, marks=() if (pool, way) in QUICK else SLOW)
    for name in OPERATIONS
    for pool in ("memory", "file", "qcow2")
    for way in WAYS
    if pool == "memory" or name not in ONLY_IN_MEMORY
]


@pytest.mark.parametrize(("name", "pool", "way"), CASES)
async def test_nothing_is_left_half_done(name: str, pool: str, way: str, tmp_path: Path) -> None:
    await cut_everywhere(OPERATIONS[name], way, pool, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["btrfs", "xfs"])
@pytest.mark.parametrize("name", [name for name in OPERATIONS if name not in ONLY_IN_MEMORY])
async def test_nothing_is_left_half_done_on_a_file_system_that_shares_blocks(
    name: str, kind: str, way: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    where = request.getfixturevalue(kind) / tmp_path.name
    await cut_everywhere(OPERATIONS[name], way, "file-reflink", where)


@pytest.mark.parametrize("name", OPERATIONS)
async def test_recovery_may_be_repeated(name: str, tmp_path: Path) -> None:
    operation = OPERATIONS[name]
    count = len(await effects(operation, Machine(tmp_path / "dry", "memory")))
    for at in range(count):
        await cut_once(operation, Machine(tmp_path / f"{at}", "memory"), "dies after", at, 2)


@pytest.mark.parametrize("way", WAYS[:2])
@pytest.mark.parametrize("name", OPERATIONS)
async def test_every_undo_may_run_twice(
    name: str, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once: Callable[..., Coroutine[Any, Any, None]] = steps.unwind

    async def twice(*args: Any) -> None:
        await once(*args)
        await once(*args)

    monkeypatch.setattr(steps, "unwind", twice)
    await cut_everywhere(OPERATIONS[name], way, "memory", tmp_path)
