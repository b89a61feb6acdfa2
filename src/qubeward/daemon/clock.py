"""What comes round: deadlines, systemd's watchdog, figures of running qubes."""

import asyncio
from collections.abc import Sequence

from ..names import PropertyName
from ..ops.consoles import trim_all
from ..ops.observe import take_figures
from ..ops.space import SpaceWatch
from ..ops.steps import survive
from ..ops.world import World
from ..server.unix import Listener
from .systemd import notify, watchdog_interval_s

_SWEEP_S = 1.0
_SPACE_S = 10.0
_RECORDS_S = 2.0


async def keep_time(listeners: Sequence[Listener]) -> None:
    """Keep deadlines and the watchdog's word. It waits for nobody, whatever else hangs."""
    loop = asyncio.get_running_loop()
    interval_s = watchdog_interval_s()
    next_word = loop.time()
    while True:
        now = loop.time()
        for listener in listeners:
            listener.sweep()
        if interval_s is not None and now >= next_word:
            notify("WATCHDOG=1")
            next_word = now + interval_s
        await asyncio.sleep(min(_SWEEP_S, interval_s or _SWEEP_S))


async def keep_figures(world: World) -> None:
    """Take figures, and keep console logs short, every `stats_interval` seconds."""
    while True:
        await survive(_round(world), "figures")
        chosen = world.system.value(None, PropertyName("stats_interval"))
        await asyncio.sleep(max(1, chosen if isinstance(chosen, int) else 3))


async def keep_space(world: World) -> None:
    """Look at the free space of pools, and at those that could not be opened."""
    watch = SpaceWatch(world)
    while True:
        await survive(watch.look(), "space")
        await asyncio.sleep(_SPACE_S)


async def keep_records(world: World) -> None:
    """Write the records of what has changed, soon after it has."""
    await survive(world.records.note_stale(), "records")
    while True:
        await survive(world.records.flush(), "records")
        await asyncio.sleep(_RECORDS_S)


async def _round(world: World) -> None:
    await take_figures(world)
    await trim_all(world)
