"""What is done to one volume of a qube: resize, snapshot, revert, clear, clone."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from ..errors import (
    ForbiddenError,
    NotHaltedError,
    QubeInUseError,
    QubeNotFoundError,
    StorageError,
)
from ..facts import Fact, VolumeCloned
from ..host import pour
from ..model.change import Change
from ..model.feature import templates
from ..model.qube import Qube
from ..model.volume import KERNEL, Volume
from ..names import QubeName, RevisionId, VolumeName
from ..spec.volume_body import VolumeInfo
from ..storage.driver import Revision
from . import space
from .exports import exported
from .progress import Operation
from .steps import Plan, Step, run
from .tokens import Origin
from .world import World

#: The largest volume: a little less than what one file of ext4 holds.
MOST_BYTES: Final = (16 << 40) - (1 << 20)
READ_ONLY = "it belongs to the kernel, which packages of the host change"


def find(world: World, qube: Qube, name: VolumeName) -> Volume:
    """Return a volume of a qube, its kernel's included, or raise what R4 does: `ForbiddenError`."""
    volume = world.pools.volumes(qube).get(name)
    if volume is None:
        raise ForbiddenError(f"{qube.name} has no volume {name}")
    return volume


def owned(world: World, qube: Qube, name: VolumeName) -> Volume:
    """Return a volume that is the qube's own; raise `StorageError` for its kernel's."""
    if find(world, qube, name).name == KERNEL:
        raise StorageError(f"volume {name}", READ_ONLY)
    return qube.volumes[name]


def _saved(world: World, qube: Qube, name: VolumeName) -> Volume:
    volume = owned(world, qube, name)
    if not volume.save_on_stop:
        raise StorageError(f"volume {name}", "it is made anew at each start, and keeps nothing")
    return volume


def adopt_size(world: World, change: Change, qube: Qube, name: VolumeName, size_bytes: int) -> None:
    """Note the size that a volume turned out to have."""
    volume = qube.volumes[name]
    if volume.size_bytes != size_bytes:
        world.resize(change, qube, volume, size_bytes)


async def adopt(world: World, qube: Qube, name: VolumeName) -> None:
    """Drop what was half made beside a halted qube's volume, and note the size that it has now.

    The undo of whatever switches a volume's content at once: the switch was done, or it wasn't.
    """
    volume = qube.volumes.get(name)
    if volume is None or world.system.by_uuid.get(qube.uuid) is not qube:
        return
    await world.pools.driver(volume.pool).import_end(world.pools.spec(volume), success=False)
    await adopt_size_now(world, qube, name)


async def adopt_size_now(world: World, qube: Qube, name: VolumeName) -> None:
    """Note the size that a volume has now, whether or not a guest is on it."""
    volume = qube.volumes.get(name)
    if volume is None or not volume.save_on_stop:
        return
    size_bytes = await world.pools.driver(volume.pool).size_bytes(world.pools.spec(volume))
    if size_bytes != volume.size_bytes:
        with world.system.change() as change:
            adopt_size(world, change, qube, name, size_bytes)


def _about(qube: Qube, name: VolumeName) -> dict[str, object]:
    return {"name": qube.name, "uuid": str(qube.uuid), "volume": name}


async def info(world: World, qube: Qube, name: VolumeName) -> VolumeInfo:
    """Tell of a volume."""
    volume = find(world, qube, name)
    driver, spec = world.pools.driver(volume.pool), world.pools.spec(volume)
    is_kernel = volume.name == KERNEL
    started = not qube.power.is_halted
    return VolumeInfo(
        pool=volume.pool,
        vid=volume.vid,
        size_bytes=volume.size_bytes,
        usage_bytes=0 if is_kernel else await driver.usage_bytes(volume.vid),
        rw=volume.rw,
        source=volume.source or "",
        save_on_stop=volume.save_on_stop,
        snap_on_start=volume.snap_on_start,
        path=world.wire_path(driver.path(spec)) if volume.vid else "",
        revisions_to_keep=volume.revisions_to_keep,
        ephemeral=world.pools.is_ephemeral(volume),
        is_outdated=started and await driver.is_outdated(spec),
    )


async def revisions(world: World, qube: Qube, name: VolumeName) -> tuple[Revision, ...]:
    """List a volume's snapshots, oldest first."""
    volume = find(world, qube, name)
    return tuple(await world.pools.driver(volume.pool).revisions(volume.vid))


async def resize(world: World, qube: Qube, name: VolumeName, size_bytes: int) -> None:
    """Make a volume larger. The same size is no error; a smaller one is refused."""
    owned(world, qube, name)
    async with world.hold(qube, "resize"):
        volume = owned(world, qube, name)
        if size_bytes < volume.size_bytes:
            why = f"it has {volume.size_bytes} bytes, and none is made smaller: {size_bytes}"
            raise StorageError(f"volume {name}", why)
        if size_bytes == volume.size_bytes:
            return
        if size_bytes > MOST_BYTES:
            why = f"no volume is larger than {MOST_BYTES} bytes: {size_bytes}"
            raise StorageError(f"volume {name}", why)
        if (qube.uuid, name) in world.imports:
            raise QubeInUseError(qube.name, f"its volume {name} is being imported")
        running = not qube.power.is_halted
        driver = world.pools.driver(volume.pool)

        async def grow() -> None:
            await driver.resize(world.pools.spec(volume), size_bytes, running=running)
            # One with a key grows at the next start: QEMU has no other way.
            if running and volume.rw and not world.pools.is_ephemeral(volume):
                await world.hypervisor.resize_disk(qube.uuid, name, size_bytes)

        async def undo() -> None:
            if not running:
                await adopt(world, qube, name)

        def land(change: Change) -> None:
            adopt_size(world, change, qube, name, size_bytes)

        plan = Plan("resize", _about(qube, name), (Step("grow", grow, undo),), land)
        await run(plan, world.journal)


async def snapshot(world: World, qube: Qube, name: VolumeName) -> RevisionId:
    """Keep what a volume was at its last stop."""
    _saved(world, qube, name)
    async with world.hold(qube, "snapshot"):
        volume = _saved(world, qube, name)
        if volume.revisions_to_keep < 0:
            raise StorageError(f"volume {name}", "revisions_to_keep is -1: no snapshot is taken")
        kept = await world.pools.driver(volume.pool).snapshot(world.pools.spec(volume))
        return RevisionId(kept.id)


async def revert(world: World, qube: Qube, name: VolumeName, revision: RevisionId) -> None:
    """Make a volume what it was."""
    _saved(world, qube, name)

    async def act(volume: Volume) -> None:
        await world.pools.driver(volume.pool).revert(world.pools.spec(volume), revision)

    async with world.hold(qube, "revert"):
        if not qube.power.is_halted:
            raise StorageError(f"volume {name}", "its qube must be off to revert it")
        await _switch(world, qube, name, "revert", act)


async def clear(world: World, qube: Qube, name: VolumeName) -> None:
    """Empty a volume; its size stays."""
    _saved(world, qube, name)

    async def act(volume: Volume) -> None:
        driver, spec = world.pools.driver(volume.pool), world.pools.spec(volume)
        await driver.import_begin(spec, volume.size_bytes)
        await driver.import_end(spec, success=True)

    async with world.hold(qube, "clear"):
        if not qube.power.is_halted:
            raise NotHaltedError(qube.name)
        await _switch(world, qube, name, "clear", act)


async def clone_to(world: World, qube: Qube, name: VolumeName, token: str) -> None:
    """Make a volume a copy of the one that a token stands for. The token is used up by this."""
    find(world, qube, name)
    source_qube, source_name = _origin(world, world.tokens.take(token))
    source = _saved(world, source_qube, source_name)
    _saved(world, qube, name)

    async def act(volume: Volume) -> None:
        await copy(world, qube.name, volume, source)
        driver, spec = world.pools.driver(volume.pool), world.pools.spec(volume)
        await driver.import_end(spec, success=True)

    async with world.hold(qube, "clone"):
        if not qube.power.is_halted:
            raise NotHaltedError(qube.name)
        check_readable(source_qube, source)
        await space.require(world, (_saved(world, qube, name).pool,))
        told = VolumeCloned(qube.name, name, source.vid)
        await _switch(world, qube, name, "clone", act, told)


def _origin(world: World, origin: Origin) -> tuple[Qube, VolumeName]:
    qube = world.system.by_uuid.get(origin.uuid)
    if qube is None:
        raise QubeNotFoundError(f"uuid:{origin.uuid}")
    return qube, origin.volume


def check_readable(qube: Qube, volume: Volume) -> None:
    """Raise `QubeInUseError` if a guest is writing to what would be read."""
    if volume.save_on_stop and volume.revisions_to_keep < 0 and not qube.power.is_halted:
        why = f"it runs on its volume {volume.name} itself (revisions_to_keep is -1)"
        raise QubeInUseError(qube.name, why)


def check_sources(world: World, qube: Qube) -> None:
    """Raise `QubeInUseError` if what a start would take snapshots of is being written to."""
    wanted = {(v.pool, v.source) for v in qube.volumes.values() if v.snap_on_start}
    for above in templates(world.system, qube):
        for volume in above.volumes.values():
            if above is not qube and (volume.pool, volume.vid) in wanted:
                check_readable(above, volume)


Act = Callable[[Volume], Awaitable[None]]


async def _switch(
    world: World, qube: Qube, name: VolumeName, what: str, act: Act, *told: Fact
) -> None:
    """Switch a halted qube's volume to another content, as a plan; its lane is held."""
    volume = _saved(world, qube, name)
    if (qube.uuid, name) in world.imports:
        raise QubeInUseError(qube.name, f"its volume {name} is being imported")
    driver = world.pools.driver(volume.pool)
    sizes: list[int] = []

    async def do() -> None:
        await act(volume)
        sizes.append(await driver.size_bytes(world.pools.spec(volume)))

    async def undo() -> None:
        await adopt(world, qube, name)

    def land(change: Change) -> None:
        adopt_size(world, change, qube, name, sizes[-1])
        for fact in told:
            change.tell(fact)

    await run(Plan(what, _about(qube, name), (Step("switch", do, undo),), land), world.journal)


async def copy(world: World, qube: QubeName, volume: Volume, source: Volume) -> None:
    """Fill what an import of a qube's volume fills with the content of another one."""
    driver, spec = world.pools.driver(volume.pool), world.pools.spec(volume)
    if volume.pool == source.pool:
        await driver.clone(spec, world.pools.spec(source))
        return
    async with exported(world, source) as path:
        into = await driver.import_begin(spec, source.size_bytes)
        with world.operations.begin("clone", qube, volume.name, source.size_bytes) as operation:
            await _copy(world, path, into, operation)


async def _copy(world: World, source: Path, into: Path, operation: Operation) -> None:
    try:
        await world.copying.run(pour.copy, source, into, operation)
    except OSError as error:
        raise StorageError(f"copy of {operation.volume}", str(error.strerror)) from error
    operation.check()
