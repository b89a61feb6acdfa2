"""admin.pool.* and admin.pool.volume.*"""

from typing import TypeVar

from ..errors import StorageError
from ..model.qube import Qube
from ..names import PoolName, RevisionId, Vid, VolumeName
from ..ops import imports, volume_settings
from ..ops import pool as pools
from ..ops import volume as work
from ..ops.tokens import Origin
from ..spec import pool
from ..spec.pool import DriverOptions, NewPool
from ..spec.volume_body import VolumeInfo, VolumeValue
from ..storage.drivers import DRIVERS
from .call import AnyRoute, Call, Route

P = TypeVar("P")

Pairs = tuple[tuple[str, str], ...]


def list_(call: Call[PoolName | None, None]) -> tuple[PoolName, ...]:
    if call.arg is None:
        return tuple(call.system.pools)
    return (pools.find(call.world, call.arg).name,)


def list_drivers(_call: Call[None, None]) -> tuple[DriverOptions, ...]:
    offered = sorted((row for row in DRIVERS.values() if not row.for_tests), key=lambda r: r.name)
    return tuple(
        DriverOptions(row.name, tuple(option.name for option in row.options)) for row in offered
    )


async def info(call: Call[PoolName, None]) -> Pairs:
    found = pools.find(call.world, call.arg)
    told = pools.properties(call.world, found)
    trouble = call.world.pools.trouble(found.name)
    if trouble:
        told["trouble"] = trouble
    else:
        usage = await call.world.pools.driver(found.name).usage()
        if usage is not None:
            told |= {"size": str(usage.size_bytes), "usage": str(usage.usage_bytes)}
    surrounding = call.world.pools.surrounding(found)
    if surrounding is not None:
        told["included_in"] = surrounding
    return tuple(told.items())


async def usage_details(call: Call[PoolName, None]) -> Pairs:
    found = pools.find(call.world, call.arg)
    usage = await call.world.pools.driver(found.name).usage()
    if usage is None:
        return ()
    told = {"data_size": usage.size_bytes, "data_usage": usage.usage_bytes}
    if usage.metadata_size_bytes is not None and usage.metadata_usage_bytes is not None:
        told["metadata_size"] = usage.metadata_size_bytes
        told["metadata_usage"] = usage.metadata_usage_bytes
    return tuple(sorted((key, str(value)) for key, value in told.items()))


async def add(call: Call[str, NewPool]) -> None:
    await pools.add(call.world, call.source.name, call.arg, call.payload)


async def remove(call: Call[PoolName, None]) -> None:
    await pools.remove(call.world, call.source.name, call.arg)


def set_revisions_to_keep(call: Call[PoolName, int]) -> None:
    pools.set_revisions_to_keep(call.world, call.source.name, call.arg, call.payload)


def set_ephemeral_volatile(call: Call[PoolName, bool]) -> None:
    pools.set_ephemeral_volatile(call.world, call.source.name, call.arg, call.payload)


# Volumes, by their vids.


async def volume_list(call: Call[PoolName, None]) -> tuple[Vid, ...]:
    found = pools.find(call.world, call.arg)
    if DRIVERS[found.driver].capabilities.read_only:
        return tuple(Vid(vid) for vid in await call.world.pools.driver(found.name).vids())
    return tuple(
        Vid(volume.vid)
        for qube in call.system.qubes.values()
        for volume in qube.volumes.values()
        if volume.pool == found.name
    )


def _place(call: Call[PoolName, P], vid: Vid) -> tuple[Qube, VolumeName]:
    """Return the qube and the volume that a vid stands for."""
    found = pools.find(call.world, call.arg)
    owner = call.world.pools.owner(found.name, vid)
    if owner is None:
        raise StorageError(vid, f"no qube has such a volume in the pool {found.name}")
    name, volume = owner
    return call.system.qubes[name], volume.name


async def volume_info(call: Call[PoolName, Vid]) -> VolumeInfo:
    return await work.info(call.world, *_place(call, call.payload))


async def volume_list_snapshots(call: Call[PoolName, Vid]) -> tuple[RevisionId, ...]:
    found = await work.revisions(call.world, *_place(call, call.payload))
    return tuple(RevisionId(revision.id) for revision in found)


async def volume_snapshot(call: Call[PoolName, Vid]) -> RevisionId:
    return await work.snapshot(call.world, *_place(call, call.payload))


async def volume_revert(call: Call[PoolName, VolumeValue[RevisionId]]) -> None:
    await work.revert(call.world, *_place(call, call.payload.vid), call.payload.value)


async def volume_resize(call: Call[PoolName, VolumeValue[int]]) -> None:
    await work.resize(call.world, *_place(call, call.payload.vid), call.payload.value)


async def volume_import(call: Call[PoolName, Vid]) -> None:
    await imports.receive(call.world, *_place(call, call.payload), None, call.incoming)


def volume_set_revisions_to_keep(call: Call[PoolName, VolumeValue[int]]) -> None:
    place = _place(call, call.payload.vid)
    with call.system.change(call.source.name) as change:
        volume_settings.set_revisions_to_keep(change, call.world, *place, call.payload.value)


def volume_clone_from(call: Call[PoolName, Vid]) -> str:
    qube, name = _place(call, call.payload)
    return call.world.tokens.give(Origin(qube.uuid, name))


async def volume_clone_to(call: Call[PoolName, VolumeValue[str]]) -> None:
    await work.clone_to(call.world, *_place(call, call.payload.vid), call.payload.value)


ROUTES: tuple[AnyRoute, ...] = (
    Route(pool.LIST, list_),
    Route(pool.LIST_DRIVERS, list_drivers),
    Route(pool.INFO_, info),
    Route(pool.USAGE_DETAILS, usage_details),
    Route(pool.ADD, add),
    Route(pool.REMOVE, remove),
    Route(pool.SET_REVISIONS_TO_KEEP, set_revisions_to_keep),
    Route(pool.SET_EPHEMERAL_VOLATILE, set_ephemeral_volatile),
    Route(pool.VOLUME_LIST, volume_list),
    Route(pool.VOLUME_INFO, volume_info),
    Route(pool.VOLUME_LIST_SNAPSHOTS, volume_list_snapshots),
    Route(pool.VOLUME_SNAPSHOT, volume_snapshot),
    Route(pool.VOLUME_REVERT, volume_revert),
    Route(pool.VOLUME_RESIZE, volume_resize),
    Route(pool.VOLUME_IMPORT, volume_import),
    Route(pool.VOLUME_SET_REVISIONS_TO_KEEP, volume_set_revisions_to_keep),
    Route(pool.VOLUME_CLONE_FROM, volume_clone_from),
    Route(pool.VOLUME_CLONE_TO, volume_clone_to),
)
