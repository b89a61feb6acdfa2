"""What is set of one volume: how many snapshots it keeps, whether it is rw, or encrypted."""

from dataclasses import replace

from ..errors import BadValueError, NotHaltedError, StorageError
from ..model.change import Change
from ..model.qube import Qube
from ..model.volume import KERNEL, Volume
from ..names import VolumeName
from ..storage.drivers import check_revisions
from .volume import READ_ONLY, find
from .world import World


def set_revisions_to_keep(
    change: Change, world: World, qube: Qube, name: VolumeName, number: int
) -> None:
    """Say how many snapshots a volume keeps."""
    if find(world, qube, name).name == KERNEL:
        if number:
            raise StorageError(f"volume {name}", READ_ONLY)
        return
    volume = qube.volumes[name]
    pool = world.system.pools.get(volume.pool)
    if pool is not None:
        check_revisions(world.pools.capabilities(pool), number)
    if (number < 0) is not (volume.revisions_to_keep < 0):
        _check_unused(world, qube, volume)
    change.set_volume(qube, replace(volume, revisions_to_keep=number))


def _check_unused(world: World, qube: Qube, volume: Volume) -> None:
    """Raise `NotHaltedError` if the qube runs, or one whose volume is a snapshot of this one."""
    if not qube.power.is_halted:
        raise NotHaltedError(qube.name)
    for other in world.system.qubes.values():
        sources = {(v.pool, v.source) for v in other.volumes.values()}
        if (volume.pool, volume.vid) in sources and not other.power.is_halted:
            raise NotHaltedError(other.name)


def set_rw(change: Change, world: World, qube: Qube, name: VolumeName, rw: bool) -> None:
    """Say whether a qube may write to a volume. That of its kernel stays read-only, as in R4."""
    volume = find(world, qube, name)
    if not qube.power.is_halted:
        raise NotHaltedError(qube.name)
    if volume.name != KERNEL:
        change.set_volume(qube, replace(volume, rw=rw))


def set_ephemeral(
    change: Change, world: World, qube: Qube, name: VolumeName, ephemeral: bool
) -> None:
    """Say whether a volatile volume is encrypted."""
    volume = find(world, qube, name)
    if volume.name == KERNEL or not volume.is_volatile or not volume.rw:
        raise BadValueError("ephemeral", "only for volatile volumes that can be written to")
    if not qube.power.is_halted:
        raise NotHaltedError(qube.name)
    change.set_volume(qube, replace(volume, ephemeral=ephemeral))
