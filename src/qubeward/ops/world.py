"""What operations work with: the model and the mechanisms, as the daemon assembled them."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from ..bus import Bus
from ..errors import QubeNotFoundError
from ..facts import Fact
from ..host.threads import Threads
from ..hypervisor.driver import Hypervisor
from ..model.change import Change
from ..model.qube import Qube
from ..model.system import System
from ..model.volume import Volume
from ..names import PoolName, QubeName, VolumeName
from .journal import Journal
from .lanes import Hold, Lanes
from .pools import Pools
from .progress import Operations
from .records import Records
from .tokens import Tokens


class Agents(Protocol):
    """Who knows whether a guest's agent answers."""

    async def answered(self, uuid: UUID) -> None:
        """Return once the agent of the domain answers; raise `AdminError` if it never will."""


class Tasks(Protocol):
    """Where work goes that nobody waits for (the daemon's task group)."""

    def create_task(self, coro: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run it to its end, on its own."""

    def create_chore(self, coro: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run what is worth nothing once the daemon stops."""


@dataclass(frozen=True, slots=True)
class Import:
    """An import under way: its entry in the journal, the new size, and the file being filled.

    `received`: by this daemon itself, from a call's payload; else by a program of the host.
    """

    entry: str
    size_bytes: int
    path: Path
    received: bool = False


@dataclass(slots=True)
class Export:
    """A volume that is being read: where, and by how many. The lock is for begin and end."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    path: Path | None = None
    readers: int = 0


#: Copies of volumes between pools at a time.
_COPIES = 4


@dataclass(slots=True)
class World:
    """The system and everything that acts on it.

    `reserved` are names that a creation under way has taken. `root` is the directory that paths on
    the wire are relative to.
    """

    system: System
    hypervisor: Hypervisor
    pools: Pools
    journal: Journal
    bus: Bus
    agents: Agents
    tasks: Tasks
    root: Path
    lanes: Lanes = field(default_factory=Lanes)
    reserved: set[QubeName] = field(default_factory=set)
    #: Pools that are being added or cleared, and those in which something is being made.
    new_pools: set[PoolName] = field(default_factory=set)
    busy_pools: Counter[PoolName] = field(default_factory=Counter)
    _until_halted: dict[UUID, list[asyncio.Future[None]]] = field(default_factory=dict)
    imports: dict[tuple[UUID, VolumeName], Import] = field(default_factory=dict)
    exports: dict[tuple[PoolName, str], "Export"] = field(default_factory=dict)
    copying: Threads = field(default_factory=lambda: Threads("copy", _COPIES))
    records: Records = field(init=False)
    tokens: Tokens = field(default_factory=Tokens)
    operations: Operations = field(default_factory=Operations)
    #: Domains that a start is making: what the hypervisor says of them is the start's business.
    starting: dict[UUID, asyncio.Event] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.records = Records(self.system, self.pools, self.root)

    @property
    def consoles(self) -> Path:
        """Return the directory of the qubes' console logs."""
        return self.root / "var/log/qubeward/console"

    @asynccontextmanager
    async def hold(self, qube: Qube, reason: str) -> AsyncIterator[Hold]:
        """Hold a qube's lane; raise `QubeNotFoundError` if it was removed meanwhile."""
        async with self.lanes.hold(qube.uuid, qube.name, reason) as hold:
            if self.system.by_uuid.get(qube.uuid) is not qube:
                raise QubeNotFoundError(qube.name)
            yield hold

    def wire_path(self, path: Path) -> str:
        """Return a path as the wire has it: with the root as `/`; a device's is as it is."""
        try:
            return f"/{path.relative_to(self.root)}"
        except ValueError:
            return str(path)

    def announce(self, fact: Fact) -> None:
        """Tell of something at once; nothing of it is stored."""
        self.bus.publish(self.system.sequence, fact)

    def resize(self, change: Change, qube: Qube, volume: Volume, size_bytes: int) -> None:
        """Note a volume's new size, and that of the volumes that are snapshots of it.

        A snapshot that was made larger than its source was stays as large.
        """
        change.set_volume(qube, replace(volume, size_bytes=size_bytes))
        for other in self.system.qubes.values():
            for below in tuple(other.volumes.values()):
                if below.pool == volume.pool and below.source == volume.vid:
                    is_larger = below.size_bytes > volume.size_bytes
                    size = max(below.size_bytes, size_bytes) if is_larger else size_bytes
                    change.set_volume(other, replace(below, size_bytes=size))

    async def until_halted(self, qube: Qube) -> None:
        """Return once the qube is off and its volumes are put away."""
        if qube.power.is_halted:
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._until_halted.setdefault(qube.uuid, []).append(done)
        await done

    def is_halted(self, qube: Qube) -> None:
        """Wake who waits for the qube to be off."""
        for done in self._until_halted.pop(qube.uuid, ()):
            if not done.done():
                done.set_result(None)
