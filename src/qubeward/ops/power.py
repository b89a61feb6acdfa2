"""The life of a qube: shutdown, kill, pause, unpause. Starting is in `start.py`."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Final

from ..errors import (
    HypervisorError,
    NotPausedError,
    NotRunningError,
    NotStartedError,
    QubeError,
    QubeInUseError,
)
from ..facts import QubePausing, QubeStopFailed, QubeStopping, QubeUnpausing
from ..model import network
from ..model.qube import Qube
from ..names import PropertyName
from ..spec.vm_body import PowerState, ShutdownOptions
from .observe import note_state, stopped, until_off
from .world import World

#: How often a guest that doesn't power off is asked again, in seconds.
PRESS_EVERY_S: Final = 4


def _need_domain(qube: Qube) -> None:
    if not qube.klass.runs:
        raise QubeError(qube.name, "is not a domain of this host")


def _users(world: World, qube: Qube) -> Iterator[Qube]:
    """Yield the running qubes that need this one: below its network, or using its GUI or sound."""
    for below in network.clients(world.system, qube):
        if not below.power.is_halted:
            yield below
    for holder, name in world.system.references.to(qube.name):
        if holder is not None and name in ("guivm", "audiovm") and not holder.power.is_halted:
            yield holder


async def shutdown(world: World, qube: Qube, options: ShutdownOptions) -> None:
    """Ask a qube to power off; with `wait`, return when it is off."""
    _need_domain(qube)
    if qube.power.is_halted:
        raise NotStartedError(qube.name)
    if qube.power.state in (PowerState.PAUSED, PowerState.SUSPENDED):
        if not options.force:
            raise NotRunningError(qube.name)
        await kill(world, qube)
        return
    user = None if options.force else next(_users(world, qube), None)
    if user is not None:
        raise QubeInUseError(qube.name, f"{user.name} needs it and is running")
    world.announce(QubeStopping(qube.name, options.force))
    try:
        await world.hypervisor.request_shutdown(qube.uuid)
    except HypervisorError as error:
        world.announce(QubeStopFailed(qube.name, str(error)))
        raise
    asking = world.tasks.create_chore(_ask_again(world, qube))
    try:
        if options.wait:
            await until_off(world, qube)
    finally:
        if options.wait:
            asking.cancel()


async def _ask_again(world: World, qube: Qube) -> None:
    """Press the button until it is heard: a guest that still boots doesn't listen."""
    guid = qube.power.start_guid
    limit = world.system.value(qube, PropertyName("shutdown_timeout"))
    presses = int(limit if isinstance(limit, int) else 60) // PRESS_EVERY_S
    for _ in range(presses):
        await asyncio.sleep(PRESS_EVERY_S)
        if not qube.power.is_running or qube.power.start_guid != guid:
            return
        with contextlib.suppress(HypervisorError):
            await world.hypervisor.request_shutdown(qube.uuid)


async def kill(world: World, qube: Qube) -> None:
    """End a qube at once, past whatever is under way with it; return when it is off."""
    _need_domain(qube)
    if qube.power.is_halted:
        raise NotStartedError(qube.name)
    life = qube.power
    world.lanes.interrupt(qube.uuid)
    await world.hypervisor.destroy(qube.uuid)
    gone = world.starting.get(qube.uuid)
    if gone is not None:
        gone.set()
        await world.until_halted(qube)
    else:
        await stopped(world, qube, life)


async def pause(world: World, qube: Qube) -> None:
    """Stop a running qube's processors."""
    _need_domain(qube)
    if not qube.power.is_running:
        raise NotRunningError(qube.name)
    world.announce(QubePausing(qube.name))
    await world.hypervisor.pause(qube.uuid)
    note_state(world, qube, PowerState.PAUSED)


async def unpause(world: World, qube: Qube) -> None:
    """Let a paused qube run."""
    _need_domain(qube)
    if qube.power.state is not PowerState.PAUSED:
        raise NotPausedError(qube.name)
    world.announce(QubeUnpausing(qube.name))
    await world.hypervisor.unpause(qube.uuid)
    note_state(world, qube, PowerState.RUNNING)


async def console(world: World, qube: Qube) -> str:
    """Return the tty of the host that is the qube's console; dom0 has none."""
    if qube is world.system.admin:
        return ""
    _need_domain(qube)
    if not qube.power.is_running:
        raise NotRunningError(qube.name)
    return await world.hypervisor.console(qube.uuid)
