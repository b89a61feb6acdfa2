"""Free space of pools: warned of in time, and kept for what must not fail."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from ..errors import AdminError, QubeNotFoundError, StorageError
from ..facts import PoolSpace, PoolUsable
from ..model.pool import Pool
from ..names import PoolName
from ..storage.driver import Usage
from .pools import reason_of
from .world import World

log = logging.getLogger(__name__)

OK, LOW, FULL = "ok", "low", "full"
_MIB: Final = 1 << 20


def state_of(pool: Pool, usage: Usage) -> str:
    """Tell how full a pool is: below its floor, beyond its warning, or neither.

    Metadata that has a place of its own counts as the data does.
    """
    if usage.size_bytes - usage.usage_bytes < pool.floor_bytes(usage.size_bytes):
        return FULL
    parts = [(usage.usage_bytes, usage.size_bytes)]
    if usage.metadata_size_bytes and usage.metadata_usage_bytes is not None:
        parts.append((usage.metadata_usage_bytes, usage.metadata_size_bytes))
    percent = max(100 * used // size for used, size in parts if size)
    return LOW if percent >= pool.warn_percent else OK


async def require(world: World, names: Iterable[PoolName]) -> None:
    """Raise `StorageError` if one of the pools has less free space than its floor."""
    for name in dict.fromkeys(names):
        pool = world.system.pools.get(name)
        usage = await world.pools.driver(name).usage()
        if pool is None or usage is None or state_of(pool, usage) != FULL:
            continue
        free_mib = (usage.size_bytes - usage.usage_bytes) // _MIB
        floor_mib = pool.floor_bytes(usage.size_bytes) // _MIB
        raise StorageError(
            f"pool {name}", f"{free_mib} MiB are free, less than its floor of {floor_mib} MiB"
        )


async def check_there(world: World, names: Iterable[PoolName]) -> None:
    """Raise `StorageError` if one of the pools can't be used now: not open, or unmounted."""
    for name in dict.fromkeys(names):
        await world.pools.driver(name).usage()


async def settle(world: World, name: PoolName) -> None:
    """Put away what guests left in a pool that could not be used when they ended."""
    for qube in tuple(world.system.qubes.values()):
        volumes = [volume for volume in qube.volumes.values() if volume.pool == name]
        if not volumes:
            continue
        try:
            async with world.hold(qube, "stop"):
                if qube.power.is_halted:
                    for volume in volumes:
                        await world.pools.driver(name).stop(world.pools.spec(volume))
        except QubeNotFoundError:
            continue  # it was removed meanwhile
        except AdminError as error:
            log.warning("the volumes of %s in pool %s: %s", qube.name, name, error)


@dataclass(slots=True)
class SpaceWatch:
    """Looks at all pools from time to time, and tells what has changed since the last look."""

    world: World
    _states: dict[PoolName, str] = field(default_factory=dict)

    async def look(self) -> None:
        """Look once: at the free space of pools, and at pools that could not be used."""
        for name in self.world.pools.broken:
            if await self.world.pools.open_again(name):
                log.info("pool %s can be used again", name)
                self.world.announce(PoolUsable(None, name, ""))
                self.world.tasks.create_chore(settle(self.world, name))
        for name in self.world.pools.usable:
            pool = self.world.system.pools.get(name)
            if pool is not None:
                await self._look_at(pool)

    def _note(self, name: PoolName, reason: str) -> None:
        """Tell that a pool which was open fails, or that it does no longer; each once."""
        if not self.world.pools.note_failing(name, reason):
            return
        self.world.announce(PoolUsable(None, name, reason))
        if reason:
            log.error("pool %s can't be used: %s", name, reason)
        else:
            log.info("pool %s can be used again", name)
            self.world.tasks.create_chore(settle(self.world, name))

    async def _look_at(self, pool: Pool) -> None:
        try:
            usage = await self.world.pools.driver(pool.name).usage()
        except AdminError as error:
            self._note(pool.name, reason_of(error))
            return
        self._note(pool.name, "")
        if usage is None:
            return
        state = state_of(pool, usage)
        if state == self._states.get(pool.name, OK):
            return
        self._states[pool.name] = state
        level = logging.INFO if state == OK else logging.WARNING
        log.log(
            level, "pool %s: %d of %d MiB are used", pool.name,
            usage.usage_bytes // _MIB, usage.size_bytes // _MIB,
        )  # fmt: skip
        told = PoolSpace(None, pool.name, state, usage.size_bytes, usage.usage_bytes)
        self.world.announce(told)
