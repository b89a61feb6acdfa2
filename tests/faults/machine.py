"""A machine that survives its daemon: hypervisor, pools and store stay, worlds come and go.

Every effect on what survives passes a `Cut`, which can let the n-th one fail, or let the daemon
die there: before it, or after it. What is dead does nothing any more, not even undo.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qubeward.bus import Bus
from qubeward.daemon.drivers import AnswersAtOnce
from qubeward.errors import AdminError, HypervisorError, StorageError
from qubeward.extensions import EXTENSIONS
from qubeward.facts import Fact
from qubeward.hooks import Hooks
from qubeward.hypervisor.fake import FakeHypervisor
from qubeward.model.change import Commit
from qubeward.model.pool import Pool as ModelPool
from qubeward.model.system import Host, System
from qubeward.names import PoolName
from qubeward.ops.journal import Journal
from qubeward.ops.observe import on_change
from qubeward.ops.pools import Pools
from qubeward.ops.recover import recover
from qubeward.ops.world import World
from qubeward.spec.vm_body import PowerState
from qubeward.store.load import fill, is_fresh
from qubeward.store.sqlite import SqliteBackend
from qubeward.store.transaction import Ledger, Rows
from world import set_up

WAYS = ("fails before", "fails after", "dies before", "dies after")
_HYPERVISOR = frozenset({"create", "unpause", "pause", "request_shutdown", "destroy"})
_DRIVER = frozenset(
    {
        *("create", "remove", "start", "stop", "import_begin", "import_end", "clone"),
        *("resize", "snapshot", "revert", "setup", "teardown", "export_begin", "export_end"),
    }
)


class DiedError(BaseException):
    """The process ended here."""


@dataclass
class Cut:
    """Where (`at`: the how-manieth effect), and in which of the `WAYS`."""

    at: int = -1
    way: str = ""
    seen: list[str] = field(default_factory=list)
    dead: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_dead(self) -> bool:
        return self.dead.is_set()

    def begin(self, what: str) -> int:
        if self.is_dead:
            raise DiedError
        self.seen.append(what)
        self._act(len(self.seen) - 1, "before")
        return len(self.seen) - 1

    def end(self, index: int) -> None:
        if self.is_dead:
            raise DiedError
        self._act(index, "after")

    def _act(self, index: int, when: str) -> None:
        if index != self.at or not self.way.endswith(when):
            return
        if self.way.startswith("dies"):
            self.dead.set()
            raise DiedError
        kind = HypervisorError if self.seen[index].startswith("hypervisor") else StorageError
        raise kind(self.seen[index], "the test said so")


class Cuttable:
    """A hypervisor or driver whose effects pass the cut."""

    def __init__(self, name: str, of: Any, effects: frozenset[str], cut: Cut) -> None:
        self._name, self._of, self._effects, self._cut = name, of, effects, cut
        self.is_cuttable: Callable[[], bool] = lambda: True

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._of, name)
        if name not in self._effects or not self.is_cuttable():
            return method

        async def effect(*args: Any, **kwargs: Any) -> Any:
            index = self._cut.begin(f"{self._name}.{name}")
            result = await method(*args, **kwargs)
            self._cut.end(index)
            return result

        return effect


class CuttableStore(SqliteBackend):
    """A store whose commits pass the cut. A failed one is refused as by a full disk."""

    def __init__(self, path: Path, cut: Cut) -> None:
        super().__init__(path, reserve=False)
        self._cut = cut
        self._full = False

    def submit(self, commit: Commit) -> None:
        if self._full:
            return
        try:
            index = self._cut.begin("store.commit")
        except StorageError as error:
            self._full = True
            asyncio.get_running_loop().call_soon(self._failed, str(error))
            return
        super().submit(commit)
        with contextlib.suppress(StorageError):  # a commit can't fail once it is in the file
            self._cut.end(index)

    def retry(self) -> None:
        self._full = False
        asyncio.get_running_loop().call_soon(self._stored, 0)


class Tasks:
    """Background work of one world; what it ends with doesn't matter."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._chores: set[asyncio.Task[None]] = set()

    def create_task(self, coro: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(_quiet(coro))
        task.add_done_callback(lambda _: coro.close())  # it may never have begun
        self._tasks.add(task)
        return task

    def create_chore(self, coro: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self.create_task(coro)
        self._tasks.discard(task)
        self._chores.add(task)
        return task

    async def end(self, *, cancel: bool) -> None:
        if cancel:
            self._tasks |= self._chores
            for task in self._tasks:
                task.cancel()
        while pending := [task for task in self._tasks if not task.done()]:
            await asyncio.wait(pending, timeout=5)


async def _quiet(coro: Coroutine[Any, Any, None]) -> None:
    with contextlib.suppress(AdminError, DiedError, asyncio.CancelledError):
        await coro


class CuttablePools(Pools):
    """Pools whose drivers' effects pass the cut; what is in memory outlives the daemon."""

    def __init__(self, system: System, root: Path, machine: "Machine", cut: Cut) -> None:
        super().__init__(system, root, {})
        self._machine = machine
        self._cut = cut
        self.is_cuttable = True

    async def _make(self, pool: ModelPool) -> Any:
        driver = self._machine.drivers.get(pool.name) if pool.driver == "memory" else None
        driver = driver or await super()._make(pool)
        self._machine.drivers[pool.name] = driver
        effects = Cuttable(f"pool {pool.name}", driver, _DRIVER, self._cut)
        effects.is_cuttable = lambda: self.is_cuttable
        return effects


@dataclass
class Machine:
    """What outlives the daemon. `pool` names the driver of its pool."""

    root: Path
    pool: str
    hypervisor: FakeHypervisor = field(default_factory=FakeHypervisor)
    drivers: dict[PoolName, Any] = field(default_factory=dict)

    @property
    def store(self) -> Path:
        return self.root / "state.db"

    @asynccontextmanager
    async def boot(self, cut: Cut | None = None, recoveries: int = 1) -> AsyncIterator["Booted"]:
        """Start a daemon's world on the machine, as the daemon does it, and recover."""
        cut = cut or Cut()
        backend = CuttableStore(self.store, cut)
        hooks = Hooks()
        for register in EXTENSIONS:
            register(hooks)
        system = System(Host(16384, 4), react=hooks.react)
        rows = backend.load()
        reports: list[str] = []
        fill(system, rows, reports.append)
        assert not reports
        bus, facts, tasks = Bus(), list[Fact](), Tasks()
        bus.subscribe(lambda _, fact: facts.append(fact))
        ledger = Ledger(system, backend, bus)
        if is_fresh(system):
            set_up(system, self.pool, None if self.pool == "memory" else self.root)
        pools = CuttablePools(system, self.root, self, cut)
        world = World(
            system,
            Cuttable("hypervisor", self.hypervisor, _HYPERVISOR, cut),
            pools,
            Journal(system, ledger),
            bus,
            AnswersAtOnce(),
            tasks,
            self.root,
        )
        await self.hypervisor.open(lambda change: on_change(world, change))
        pools.is_cuttable = False  # what is opened at each start is no effect of an operation
        await pools.open_all()
        pools.is_cuttable = True
        booted = Booted(self, world, cut, facts, tasks)
        try:
            for _ in range(recoveries):
                await recover(world, rows.get("journal", ()), rows.get("running", ()))
            await world.journal.stored()
            await booted.settle()
            yield booted
        finally:
            self.hypervisor._on_change = None
            await tasks.end(cancel=True)
            backend.close()

    def rows(self) -> Rows:
        return SqliteBackend(self.store).load()


@dataclass
class Booted:
    """A world on the machine."""

    machine: Machine
    world: World
    cut: Cut
    facts: list[Fact]
    tasks: Tasks

    async def attempt(self, work: Coroutine[Any, Any, None]) -> bool:
        """Do work until its end, or the daemon's; return whether it was acknowledged."""
        task = asyncio.ensure_future(work)
        dead = asyncio.ensure_future(self.cut.dead.wait())
        await asyncio.wait((task, dead), timeout=10, return_when=asyncio.FIRST_COMPLETED)
        dead.cancel()
        is_stuck = not task.done() and not self.cut.is_dead
        task.cancel()
        try:
            await task
        except (AdminError, DiedError, asyncio.CancelledError):
            assert not is_stuck, "no end in sight"
            return False
        return not self.cut.is_dead

    async def settle(self) -> None:
        """Let the hypervisor's reports arrive and what they set going come to its end."""
        for _ in range(5):
            await asyncio.sleep(0)
        await self.tasks.end(cancel=False)
        with contextlib.suppress(AdminError):
            await self.world.journal.stored()

    async def check_no_orphans(self) -> None:
        """Model, store, pools and hypervisor say the same, and nothing is left over."""
        system = self.world.system
        await self.world.journal.stored()
        rows = self.machine.rows()
        assert rows["journal"] == []
        reread = System(Host(16384, 4))
        fill(reread, rows, lambda text: None)
        assert sorted(reread.qubes) == sorted(system.qubes)
        for qube in system.qubes.values():
            assert reread.qube(qube.name).properties == qube.properties
            assert reread.qube(qube.name).tags == qube.tags
        assert not self.world.imports
        await self._check_volumes()
        domains = {info.uuid for info in await self.machine.hypervisor.domains()}
        on = {q.uuid for q in system.qubes.values() if q.klass.runs and not q.power.is_halted}
        assert domains == on
        for uuid in on:
            assert system.by_uuid[uuid].power.state is PowerState.RUNNING
        assert {row[0] for row in rows["running"]} == {str(uuid) for uuid in on}
        assert not self.world.reserved
        assert not self.world.starting
        assert not self.world.lanes._lanes

    async def _check_volumes(self) -> None:
        pools = self.world.pools
        assert set(pools.usable) == set(self.world.system.pools)
        assert not self.world.new_pools
        assert not +self.world.busy_pools
        for name in pools.usable:
            driver = self.machine.drivers[name]
            found = set(await driver.vids())
            owned, saved = set(), set()
            for qube in self.world.system.qubes.values():
                for volume in qube.volumes.values():
                    if volume.pool == name:
                        owned.add(volume.vid)
                        saved |= {volume.vid} if volume.save_on_stop else set()
                        if volume.save_on_stop and qube.power.is_halted:
                            size_bytes = await driver.size_bytes(self.world.pools.spec(volume))
                            assert size_bytes == volume.size_bytes
            assert found <= owned, f"left over in {name}: {found - owned}"
            assert saved <= found, f"lost in {name}: {saved - found}"
        for left in ("*-import.img", "*-import.raw", "*-export.raw", "*.new"):
            assert not list(self.machine.root.rglob(left))
        assert not self.world.exports
        if "new-pool" not in self.world.system.pools:
            assert not (self.machine.root / "srv/new-pool").exists()
