"""After a crash: undo or finish what was cut off, and adopt the guests that went on running."""

import logging
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from ..errors import AdminError
from ..hypervisor.driver import DomainInfo, DomainState
from ..model.qube import Qube
from ..names import QubeName, VolumeName
from ..spec.vm_body import PowerState
from . import pool
from .create import finish_removal
from .observe import note_figures, note_state, put_away
from .volume import adopt, adopt_size_now
from .world import World

log = logging.getLogger(__name__)

#: An entry of the journal as stored: id, plan, and what it is about.
Entry = tuple[str, str, dict[str, Any]]
#: A qube that ran when the daemon last wrote: its uuid, and when and as what it was started.
Started = tuple[str, dict[str, Any]]


async def recover(world: World, entries: Iterable[Entry], running: Iterable[Started]) -> None:
    """Bring model, disks and hypervisor to one account. Called once, before the first socket."""
    domains = {info.uuid: info for info in await world.hypervisor.domains()}
    starts = {UUID(about["uuid"]) for _, plan, about in entries if plan == "start"}
    started = {UUID(uuid): start for uuid, start in running}
    for uuid, qube in tuple(world.system.by_uuid.items()):
        info = domains.get(uuid)
        if info is not None:
            await _adopt(world, qube, info, started.get(uuid), cut_off=uuid in starts)
        elif uuid in started or uuid in starts:
            log.info("%s ended while the daemon was away", qube.name)
            await put_away(world, qube, ran=uuid in started)
    for entry, plan, about in entries:
        try:
            await _settle(world, entry, plan, about, domains)
        except AdminError as error:
            log.error("%s of %s stays open: %s", plan, about.get("name"), error)  # noqa: TRY400


async def _adopt(
    world: World, qube: Qube, info: DomainInfo, start: dict[str, Any] | None, *, cut_off: bool
) -> None:
    if start is None and cut_off and info.state is not DomainState.RUNNING:
        log.info("the start of %s was cut off; undoing it", qube.name)
        await world.hypervisor.destroy(qube.uuid)
        await put_away(world, qube)
        return
    log.info("%s is running still", qube.name)
    qube.power.state = PowerState.RUNNING
    note_figures(qube, info)
    if info.state is not DomainState.RUNNING:
        note_state(world, qube, PowerState(info.state.value.capitalize()))
    if start is None:
        with world.system.change() as change:
            change.write("running", (qube.uuid,), ({"time_s": None, "guid": None},))
    else:
        qube.power.start_time_s = start.get("time_s")


def _unclaimed(world: World, volumes: dict[str, str]) -> dict[str, str]:
    """Return those that no qube of today has: a name may have been given again since."""
    claimed = {
        (volume.vid, volume.pool)
        for qube in world.system.qubes.values()
        for volume in qube.volumes.values()
    }
    return {vid: pool for vid, pool in volumes.items() if (vid, pool) not in claimed}


async def _settle(
    world: World,
    entry: str,
    plan: str,
    about: dict[str, Any],
    domains: dict[UUID, DomainInfo],
) -> None:
    match plan:
        case "create":
            if QubeName(about["name"]) not in world.system.qubes:
                log.info("the creation of %s was cut off; undoing it", about["name"])
                await world.pools.remove(_unclaimed(world, about["volumes"]))
        case "remove":
            log.info("finishing the removal of %s", about["name"])
            if UUID(about["uuid"]) in domains:
                await world.hypervisor.destroy(UUID(about["uuid"]))
            left = _unclaimed(world, about["volumes"])
            await finish_removal(world, QubeName(about["name"]), left, entry)
            return
        case "import" | "resize" | "revert" | "clear" | "clone":
            await _adopt_volume(world, plan, about)
        case "pool-add":
            await pool.recover_add(world, about)
        case "pool-remove":
            await pool.recover_remove(world, about)
        case "start":
            pass  # adopted or undone above
        case _:
            log.warning("an entry of the unknown plan %s stays", plan)
            return
    await world.journal.close(entry)


async def _adopt_volume(world: World, plan: str, about: dict[str, Any]) -> None:
    """Settle what was to switch a volume's content or size: it was done, or it wasn't."""
    qube = world.system.by_uuid.get(UUID(about["uuid"]))
    if qube is None:
        return
    log.info("the %s of %s of %s was cut off", plan, about["volume"], about["name"])
    if qube.power.is_halted:
        await adopt(world, qube, VolumeName(about["volume"]))
    elif plan == "resize":
        await adopt_size_now(world, qube, VolumeName(about["volume"]))
