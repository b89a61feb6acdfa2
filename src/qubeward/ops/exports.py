"""Read a volume's content from outside: as of its last stop, whatever its qube does meanwhile."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from ..model.volume import Volume
from .world import Export, World


@asynccontextmanager
async def exported(world: World, volume: Volume) -> AsyncIterator[Path]:
    """Have a path where a volume can be read while the block runs."""
    path = await begin(world, volume)
    try:
        yield path
    finally:
        await end(world, volume)


async def begin(world: World, volume: Volume) -> Path:
    """Return a path where a volume can be read until `end`; the same for all its readers."""
    export = world.exports.setdefault((volume.pool, volume.vid), Export())
    export.readers += 1
    try:
        async with export.lock:
            if export.path is None:
                driver = world.pools.driver(volume.pool)
                export.path = await driver.export_begin(world.pools.spec(volume))
            return export.path
    except BaseException:
        await end(world, volume)
        raise


async def end(world: World, volume: Volume) -> None:
    """End one reader's use; what was made for it goes with the last. Once too often: no error."""
    export = world.exports.get((volume.pool, volume.vid))
    if export is None:
        return
    export.readers -= 1
    async with export.lock:
        if export.readers > 0 or world.exports.get((volume.pool, volume.vid)) is not export:
            return
        if export.path is not None:
            await world.pools.driver(volume.pool).export_end(world.pools.spec(volume))
        del world.exports[volume.pool, volume.vid]
