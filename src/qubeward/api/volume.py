"""admin.vm.volume.*, and the internal calls of importers and exporters."""

from ..errors import ForbiddenError
from ..names import RevisionId, VolumeName
from ..ops import exports, imports, volume_settings
from ..ops import volume as work
from ..ops.tokens import Origin
from ..spec import volume
from ..spec.volume_body import Dated, ImportResult, ImportTarget, VolumeInfo
from .call import AnyRoute, Call, Route


def list_(call: Call[VolumeName | None, None]) -> tuple[VolumeName, ...]:
    volumes = call.world.pools.volumes(call.dest)
    if call.arg is None:
        return tuple(volumes)
    if call.arg not in volumes:
        raise ForbiddenError(f"{call.dest.name} has no volume {call.arg}")
    return (call.arg,)


async def info(call: Call[VolumeName, None]) -> VolumeInfo:
    return await work.info(call.world, call.dest, call.arg)


async def list_snapshots(call: Call[VolumeName, None]) -> tuple[RevisionId, ...]:
    found = await work.revisions(call.world, call.dest, call.arg)
    return tuple(RevisionId(revision.id) for revision in found)


async def snapshot_times(call: Call[VolumeName, None]) -> tuple[Dated, ...]:
    found = await work.revisions(call.world, call.dest, call.arg)
    return tuple(Dated(RevisionId(r.id), int(r.time_s or 0)) for r in found)


async def snapshot(call: Call[VolumeName, None]) -> RevisionId:
    return await work.snapshot(call.world, call.dest, call.arg)


async def revert(call: Call[VolumeName, RevisionId]) -> None:
    await work.revert(call.world, call.dest, call.arg, call.payload)


async def resize(call: Call[VolumeName, int]) -> None:
    await work.resize(call.world, call.dest, call.arg, call.payload)


async def import_(call: Call[VolumeName, None]) -> None:
    await imports.receive(call.world, call.dest, call.arg, None, call.incoming)


async def import_with_size(call: Call[VolumeName, int]) -> None:
    await imports.receive(call.world, call.dest, call.arg, call.payload, call.incoming)


async def clear(call: Call[VolumeName, None]) -> None:
    await work.clear(call.world, call.dest, call.arg)


def clone_from(call: Call[VolumeName, None]) -> str:
    found = work.find(call.world, call.dest, call.arg)
    return call.world.tokens.give(Origin(call.dest.uuid, found.name))


async def clone_to(call: Call[VolumeName, str]) -> None:
    await work.clone_to(call.world, call.dest, call.arg, call.payload)


def set_revisions_to_keep(call: Call[VolumeName, int]) -> None:
    with call.system.change(call.source.name) as change:
        volume_settings.set_revisions_to_keep(change, call.world, call.dest, call.arg, call.payload)


def set_rw(call: Call[VolumeName, bool]) -> None:
    with call.system.change(call.source.name) as change:
        volume_settings.set_rw(change, call.world, call.dest, call.arg, call.payload)


def set_ephemeral(call: Call[VolumeName, bool]) -> None:
    with call.system.change(call.source.name) as change:
        volume_settings.set_ephemeral(change, call.world, call.dest, call.arg, call.payload)


async def import_begin(call: Call[VolumeName, int | None]) -> ImportTarget:
    return await imports.begin(call.world, call.dest, call.arg, call.payload)


async def import_end(call: Call[VolumeName, ImportResult]) -> None:
    await imports.end(call.world, call.dest, call.arg, call.payload)


async def export_begin(call: Call[VolumeName, None]) -> ImportTarget:
    found = work.find(call.world, call.dest, call.arg)
    work.check_readable(call.dest, found)
    path = await exports.begin(call.world, found)
    return ImportTarget(found.size_bytes, call.world.wire_path(path))


async def export_end(call: Call[VolumeName, None]) -> None:
    await exports.end(call.world, work.find(call.world, call.dest, call.arg))


ROUTES: tuple[AnyRoute, ...] = (
    Route(volume.LIST, list_),
    Route(volume.INFO_, info),
    Route(volume.LIST_SNAPSHOTS, list_snapshots),
    Route(volume.SNAPSHOT_TIMES, snapshot_times),
    Route(volume.SNAPSHOT, snapshot),
    Route(volume.REVERT, revert),
    Route(volume.RESIZE, resize),
    Route(volume.IMPORT, import_),
    Route(volume.IMPORT_WITH_SIZE, import_with_size),
    Route(volume.CLEAR, clear),
    Route(volume.CLONE_FROM, clone_from),
    Route(volume.CLONE_TO, clone_to),
    Route(volume.SET_REVISIONS_TO_KEEP, set_revisions_to_keep),
    Route(volume.SET_RW, set_rw),
    Route(volume.SET_EPHEMERAL, set_ephemeral),
    Route(volume.IMPORT_BEGIN, import_begin),
    Route(volume.IMPORT_END, import_end),
    Route(volume.EXPORT_BEGIN, export_begin),
    Route(volume.EXPORT_END, export_end),
)
