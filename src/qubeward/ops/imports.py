"""Replace a volume's content from outside: the old stays until the new is whole."""

import asyncio
import contextlib
import logging
import os
import stat
import time
from typing import Final

from ..errors import AdminError, BusyError, NotHaltedError, QubeInUseError, StorageError
from ..facts import VolumeImported, VolumeImporting
from ..model.qube import Qube
from ..names import VolumeName
from ..spec.volume_body import ImportResult, ImportTarget
from . import space
from .incoming import Incoming
from .volume import adopt_size, owned
from .world import Import, World

log = logging.getLogger(__name__)

#: Seconds without a write after which an import counts as left by its importer.
ABANDONED_S: Final = 600.0
#: Payloads that are received at a time: each takes a buffer of a MiB.
MOST_RECEIVED: Final = 64


async def begin(world: World, qube: Qube, name: VolumeName, size_bytes: int | None) -> ImportTarget:
    """Return a file that the caller fills. An import that was left open before is dropped."""
    under_way = await _begin(world, qube, name, size_bytes, received=False)
    return ImportTarget(under_way.size_bytes, world.wire_path(under_way.path))


async def _begin(
    world: World, qube: Qube, name: VolumeName, size_bytes: int | None, *, received: bool
) -> Import:
    owned(world, qube, name)
    async with world.hold(qube, "import"):
        volume = owned(world, qube, name)
        if not qube.power.is_halted:
            raise NotHaltedError(qube.name)
        if received and sum(one.received for one in world.imports.values()) >= MOST_RECEIVED:
            raise BusyError(f"{MOST_RECEIVED} volumes are being imported")
        await space.require(world, (volume.pool,))
        driver = world.pools.driver(volume.pool)
        size = volume.size_bytes if size_bytes is None else size_bytes
        before = world.imports.get((qube.uuid, name))
        if before is not None and before.received:
            raise QubeInUseError(qube.name, f"its volume {name} is being imported")
        if world.imports.pop((qube.uuid, name), None) is not None:
            world.announce(VolumeImported(qube.name, name, success=False))
        about: dict[str, object] = {"name": qube.name, "uuid": str(qube.uuid), "volume": name}
        entry = before.entry if before else await world.journal.begin("import", about)
        try:
            path = await driver.import_begin(world.pools.spec(volume), size)
        except BaseException:
            await driver.import_end(world.pools.spec(volume), success=False)
            await world.journal.close(entry)
            raise
        under_way = Import(entry, size, path, received)
        world.imports[qube.uuid, name] = under_way
        world.announce(VolumeImporting(qube.name, name, size))
        return under_way


async def receive(
    world: World, qube: Qube, name: VolumeName, size_bytes: int | None, incoming: Incoming
) -> None:
    """Replace a volume by a payload of exactly its size, or of the size that is given.

    The qube's lane is free while bytes come: nobody waits for a slow sender.
    """
    under_way = await _begin(world, qube, name, size_bytes, received=True)
    try:
        with world.operations.begin("import", qube.name, name, under_way.size_bytes) as operation:
            came = await incoming.pour(under_way.path, under_way.size_bytes, operation)
        if came == under_way.size_bytes:
            result = ImportResult(success=True)
        else:
            result = ImportResult(False, f"{came} of {under_way.size_bytes} bytes came")
    except StorageError as error:
        result = ImportResult(False, error.fields[-1])
    except BaseException:
        with contextlib.suppress(AdminError):
            await _end(world, qube, name, ImportResult(False, "it was cut off"), received=True)
        raise
    await _end(world, qube, name, result, received=True)


def _check_filled(under_way: Import) -> ImportResult:
    """Find out whether a file that an importer filled has the size that was told; blocking."""
    try:
        about = under_way.path.stat()
    except OSError as error:
        return ImportResult(False, os.strerror(error.errno or 0))
    if stat.S_ISREG(about.st_mode) and about.st_size != under_way.size_bytes:
        return ImportResult(False, f"{about.st_size} of {under_way.size_bytes} bytes came")
    return ImportResult(success=True)


async def drop_abandoned(world: World, qube: Qube) -> None:
    """Drop the qube's imports whose importer went away without a word; its lane is held.

    Raise `QubeInUseError` if one is being written still.
    """
    for (uuid, name), under_way in tuple(world.imports.items()):
        if uuid != qube.uuid:
            continue
        try:
            idle_s = time.time() - under_way.path.stat().st_mtime
        except FileNotFoundError:
            idle_s = ABANDONED_S
        if under_way.received or idle_s < ABANDONED_S:
            raise QubeInUseError(qube.name, f"its volume {name} is being imported")
        log.warning("dropping the import of %s of %s: its importer is gone", name, qube.name)
        del world.imports[uuid, name]
        volume = owned(world, qube, name)
        await world.pools.driver(volume.pool).import_end(world.pools.spec(volume), success=False)
        await world.journal.close(under_way.entry)
        world.announce(VolumeImported(qube.name, name, success=False))


async def end(world: World, qube: Qube, name: VolumeName, result: ImportResult) -> None:
    """Make the filled file the volume, or drop it; raise `StorageError` if it failed."""
    await _end(world, qube, name, result, received=False)


async def _end(
    world: World, qube: Qube, name: VolumeName, result: ImportResult, *, received: bool
) -> None:
    owned(world, qube, name)
    async with world.hold(qube, "import"):
        under_way = world.imports.get((qube.uuid, name))
        if under_way is None or under_way.received is not received:
            raise StorageError(f"import of {name}", "none was begun")
        del world.imports[qube.uuid, name]
        volume = owned(world, qube, name)
        driver = world.pools.driver(volume.pool)
        spec = world.pools.spec(volume)
        if result.success:
            result = await asyncio.to_thread(_check_filled, under_way)
        done = False
        try:
            await driver.import_end(spec, success=result.success)
            done = result.success
        finally:
            if not done:
                await driver.import_end(spec, success=False)
            size_bytes = await driver.size_bytes(spec)  # as it is, however the import went
            with world.system.change() as change:
                adopt_size(world, change, qube, name, size_bytes)
                world.journal.end(change, under_way.entry)
                change.tell(VolumeImported(qube.name, name, done))
            await world.journal.stored()
    if not result.success:
        raise StorageError(f"import of {name}", result.why or "the importer failed")
