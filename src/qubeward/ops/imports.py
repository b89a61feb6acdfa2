"""Replace a volume's content from outside: the old stays until the new is whole."""

import logging
import time
from typing import Final

from ..errors import (
    ForbiddenError,
    NotHaltedError,
    QubeInUseError,
    QubeNotFoundError,
    StorageError,
)
from ..facts import VolumeImported, VolumeImporting
from ..model.qube import Qube
from ..model.volume import Volume
from ..names import VolumeName
from ..spec.volume import ImportResult, ImportTarget
from .world import Import, World

log = logging.getLogger(__name__)

#: Seconds without a write after which an import counts as left by its importer.
ABANDONED_S: Final = 600.0


def _volume(qube: Qube, name: VolumeName) -> Volume:
    volume = qube.volumes.get(name)
    if volume is None:
        raise ForbiddenError(f"volume {name}")
    return volume


async def begin(world: World, qube: Qube, name: VolumeName, size_bytes: int | None) -> ImportTarget:
    """Return a file that the caller fills. An import that was left open before is dropped."""
    volume = _volume(qube, name)
    async with world.lanes.hold(qube.uuid, qube.name, "import"):
        if world.system.by_uuid.get(qube.uuid) is not qube:
            raise QubeNotFoundError(qube.name)
        if not qube.power.is_halted:
            raise NotHaltedError(qube.name)
        driver = world.pools.driver(volume.pool)
        size = volume.size_bytes if size_bytes is None else size_bytes
        about: dict[str, object] = {"name": qube.name, "uuid": str(qube.uuid), "volume": name}
        before = world.imports.pop((qube.uuid, name), None)
        entry = before.entry if before else await world.journal.begin("import", about)
        try:
            path = await driver.import_begin(world.pools.spec(volume), size)
        except BaseException:
            await driver.import_end(world.pools.spec(volume), success=False)
            await world.journal.close(entry)
            raise
        world.imports[qube.uuid, name] = Import(entry, size, path)
        world.announce(VolumeImporting(qube.name, name, size))
        return ImportTarget(size, f"/{path.relative_to(world.root)}")


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
        if idle_s < ABANDONED_S:
            raise QubeInUseError(qube.name, f"its volume {name} is being imported")
        log.warning("dropping the import of %s of %s: its importer is gone", name, qube.name)
        del world.imports[uuid, name]
        volume = _volume(qube, name)
        await world.pools.driver(volume.pool).import_end(world.pools.spec(volume), success=False)
        await world.journal.close(under_way.entry)
        world.announce(VolumeImported(qube.name, name, success=False))


async def end(world: World, qube: Qube, name: VolumeName, result: ImportResult) -> None:
    """Make the filled file the volume, or drop it; raise `StorageError` if it failed."""
    volume = _volume(qube, name)
    async with world.lanes.hold(qube.uuid, qube.name, "import"):
        under_way = world.imports.pop((qube.uuid, name), None)
        if under_way is None:
            raise StorageError(f"import of {name}", "none was begun")
        driver = world.pools.driver(volume.pool)
        spec = world.pools.spec(volume)
        done = False
        try:
            await driver.import_end(spec, success=result.success)
            done = result.success
        finally:
            if not done:
                await driver.import_end(spec, success=False)
            size_bytes = await driver.size_bytes(spec)  # as it is, however the import went
            with world.system.change() as change:
                if size_bytes != qube.volumes[name].size_bytes:
                    world.resize(change, qube, qube.volumes[name], size_bytes)
                world.journal.end(change, under_way.entry)
                change.tell(VolumeImported(qube.name, name, done))
            await world.journal.stored()
    if not result.success:
        raise StorageError(f"import of {name}", result.why or "the importer failed")
