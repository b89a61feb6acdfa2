"""Keep the model's power current from what the hypervisor says, whoever asked for it."""

import asyncio
import logging

from ..errors import AdminError, HypervisorError, ShutdownTimeoutError, StoreError
from ..facts import (
    Fact,
    QubeHalted,
    QubePaused,
    QubeStopFailed,
    QubeStopped,
    QubeUnpaused,
    StateChanged,
)
from ..hypervisor.driver import IO_ERROR, DomainChange, DomainInfo, DomainState
from ..model.power import Power
from ..model.qube import Qube
from ..names import PropertyName
from ..spec.vm_body import PowerState
from .world import World

log = logging.getLogger(__name__)

_STATES = {
    DomainState.RUNNING: PowerState.RUNNING,
    DomainState.PAUSED: PowerState.PAUSED,
    DomainState.SUSPENDED: PowerState.SUSPENDED,
    DomainState.HALTING: PowerState.HALTING,
    DomainState.DYING: PowerState.DYING,
    DomainState.CRASHED: PowerState.CRASHED,
}
_FACTS: dict[PowerState, type[QubePaused | QubeUnpaused]] = {
    PowerState.PAUSED: QubePaused,
    PowerState.RUNNING: QubeUnpaused,
}
RUNTIME = (PropertyName("xid"), PropertyName("start_time"))


def note_state(world: World, qube: Qube, state: PowerState) -> None:
    """Note where a domain is in its life. Noting the same again tells nobody."""
    before = qube.power.state
    if before is state or before is PowerState.HALTED:
        return
    if state is PowerState.RUNNING and before in (PowerState.HALTING, PowerState.DYING):
        return  # a late word from before the end began
    qube.power.state = state
    kind = _FACTS.get(state)
    if kind is not None:
        world.announce(kind(qube.name))


def on_change(world: World, change: DomainChange) -> None:
    """Take a word from the hypervisor about a domain."""
    qube = world.system.by_uuid.get(change.uuid)
    if qube is None:
        return
    gone = world.starting.get(qube.uuid)
    if gone is not None:
        if change.state is None:
            gone.set()
        return
    if change.state is not None:
        if change.reason == IO_ERROR:
            log.warning("%s is paused: one of its disks is full, or fails", qube.name)
        note_state(world, qube, _STATES[change.state])
    elif not qube.power.is_halted:
        log.info("%s is gone: %s", qube.name, change.reason or "no reason given")
        qube.power.state = PowerState.DYING
        world.tasks.create_task(_stopped_in_background(world, qube, qube.power))


async def _stopped_in_background(world: World, qube: Qube, life: Power) -> None:
    try:
        await stopped(world, qube, life)
    except AdminError as error:
        log.error("putting %s away: %s", qube.name, error)  # noqa: TRY400  # no bug of ours


async def until_off(world: World, qube: Qube) -> None:
    """Wait for a qube that is on its way down, no longer than its shutdown_timeout."""
    limit = world.system.value(qube, PropertyName("shutdown_timeout"))
    try:
        async with asyncio.timeout(float(limit) if isinstance(limit, int) else 60.0):
            await world.until_halted(qube)
    except TimeoutError:
        world.announce(QubeStopFailed(qube.name, "no end in time"))
        raise ShutdownTimeoutError(qube.name) from None


async def stopped(world: World, qube: Qube, life: Power) -> None:
    """Put a qube away whose domain is gone: its volumes, its state, and the word to others.

    `life` is the qube's power while that domain ran; by now the qube may have a later one.
    """
    async with world.lanes.hold(qube.uuid, qube.name, "stop"):
        if qube.power is life and not life.is_halted:
            await put_away(world, qube)


async def put_away(world: World, qube: Qube, *, ran: bool = True) -> None:
    """Do `stopped` inside a lane that is held already. `ran` False: there never was a domain."""
    qube.power.state = PowerState.DYING
    if ran:
        world.announce(QubeStopped(qube.name))
    try:
        await world.pools.stop(qube)
    except AdminError:
        log.exception("the volumes of %s; tried again at its next start", qube.name)
    else:
        world.tasks.create_chore(world.pools.tidy(qube))
    qube.power = Power()
    try:
        with world.system.change() as change:
            change.write("running", (qube.uuid,), None)
            for fact in _ended(qube) if ran else ():
                change.tell(fact)
        await world.journal.stored()
    except StoreError as error:
        # It is off all the same; the row goes at the next start of the daemon.
        log.warning("that %s is off could not be stored: %s", qube.name, error)
        for fact in _ended(qube) if ran else ():
            world.announce(fact)
    finally:
        world.is_halted(qube)


def _ended(qube: Qube) -> tuple[Fact, ...]:
    return (*(StateChanged(qube.name, name) for name in RUNTIME), QubeHalted(qube.name))


def note_figures(qube: Qube, info: DomainInfo) -> None:
    """Note a domain's number, memory and CPU time."""
    power = qube.power
    power.xid = info.id
    power.memory_kib = info.memory_kib
    power.max_memory_kib = info.max_memory_kib
    power.cpu_time_ns = info.cpu_time_ns


async def take_figures(world: World) -> None:
    """Ask the hypervisor for all domains' figures, and notice domains that went unsaid."""
    # With its power: by the answer, a qube may have ended, and may have begun another life.
    before = [
        (qube, qube.power)
        for uuid, qube in world.system.by_uuid.items()
        if not qube.power.is_halted and uuid not in world.starting
    ]
    if not before:
        return
    try:
        infos = {info.uuid: info for info in await world.hypervisor.domains()}
    except HypervisorError as error:
        log.warning("no figures: %s", error)
        return
    for qube, life in before:
        if qube.power is not life:
            continue
        info = infos.get(qube.uuid)
        if info is not None:
            note_figures(qube, info)
            note_state(world, qube, _STATES[info.state])
        elif qube.power.state is not PowerState.DYING:
            on_change(world, DomainChange(uuid=qube.uuid, state=None, reason="not listed"))
