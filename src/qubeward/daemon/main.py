"""Assemble the daemon, run it, and end it well."""

import asyncio
import contextlib
import gc
import logging
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ..bus import Bus
from ..errors import AdminError, StoreError
from ..extensions import EXTENSIONS
from ..hooks import Hooks
from ..host.lock import LockHeldError, hold_lock
from ..host.threads import Threads
from ..hypervisor.driver import DomainChange, Hypervisor
from ..model.system import Host, System
from ..ops.background import Background
from ..ops.journal import Journal
from ..ops.observe import on_change
from ..ops.pools import Pools
from ..ops.recover import recover
from ..ops.world import Agents, World
from ..server.gate import Endpoint, Gate, OnlyAdmin
from ..server.peers import administrators
from ..server.serve import Corridor
from ..server.streams import Streams
from ..server.unix import Limits, Listener, most_connections
from ..store.load import fill, is_fresh
from ..store.memory import MemoryBackend
from ..store.sqlite import SqliteBackend, StoreUnusableError
from ..store.transaction import Backend, Ledger, Rows
from ..wire.dialect import Dialect
from . import drivers, fresh, log, services
from .clock import keep_figures, keep_records, keep_space, keep_time
from .config import Config, ConfigError, load
from .systemd import notify

logger = logging.getLogger(__name__)

#: Where the daemon listens, below its root, and what is spoken there.
SOCKETS = (
    ("run/qubesd.sock", Endpoint(Dialect.R4, judged=True)),
    ("run/qubesd.internal.sock", Endpoint(Dialect.R4, judged=True, internal=True)),
    ("run/qubeward/draft.sock", Endpoint(Dialect.DRAFT, judged=True)),
)


#: Held by the one daemon of a root, with its process number.
LOCK = "run/qubeward/daemon.lock"
#: Payloads that are being written to volumes at a time, while their bytes come.
_RECEIVERS = 8


class RootUnusableError(Exception):
    """The daemon can't serve this root."""


class AlreadyRunningError(RootUnusableError):
    """Another daemon serves this root."""


def run(root: Path, overrides: Sequence[str] = ()) -> int:
    """Run the daemon in the foreground until it is told to stop; return its exit status."""
    try:
        config = load(root / "etc/qubeward/qubeward.toml", overrides)
    except ConfigError as error:
        print(f"qubeward: {error}", file=sys.stderr)  # noqa: T201  # there is no log yet
        return 2
    log.configure(config["log.level"], config["log.format"])
    try:
        with _only_one(root):
            hypervisor, agents = drivers.make(root, config)
            backend = _backend(root, config)
            asyncio.run(Daemon(root, config, hypervisor, agents, backend).serve())
    except (RootUnusableError, StoreUnusableError, AdminError, OSError) as error:
        logger.critical("%s", error)
        return 1
    return 0


def _only_one(root: Path) -> IO[str]:
    """Hold the lock of the root until the process ends."""
    try:
        return hold_lock(root / LOCK)
    except PermissionError as error:
        raise RootUnusableError(
            f"{error.filename}: not allowed to write there: run the daemon as root, or give it a "
            "directory of your own with --root DIR"
        ) from None
    except LockHeldError as error:
        raise AlreadyRunningError(
            f"another daemon (process {error.pid}) serves {root}: stop it first, or use another "
            "--root"
        ) from None


def _backend(root: Path, config: Config) -> Backend:
    if config["store.driver"] == "memory":
        return MemoryBackend()
    return SqliteBackend(root / "var/lib/qubeward/state.db")


@dataclass(slots=True)
class Daemon:
    """One daemon, from its start to its end."""

    root: Path
    config: Config
    hypervisor: Hypervisor
    agents: Agents
    backend: Backend

    async def serve(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        failed: Exception | None = None
        async with asyncio.TaskGroup() as group:
            background = Background(group)
            try:
                world, listeners = await self._start(background)
            except (StoreUnusableError, AdminError, OSError) as error:
                failed = error  # the group would wrap it
                await background.drain(0)
            else:
                background.create_chore(keep_time(listeners))
                background.create_chore(keep_figures(world))
                background.create_chore(keep_space(world))
                background.create_chore(keep_records(world))
                gc.freeze()  # the model stays: don't search it for garbage again and again
                notify("READY=1", f"STATUS=Serving {self.root}")
                logger.info("ready, serving %s", self.root)
                await stop.wait()
                notify("STOPPING=1")
                logger.info("stopping")
                for listener in listeners:
                    listener.close()
                await background.drain(self.config["server.stop_grace_s"])
                with contextlib.suppress(StoreError):
                    await world.journal.stored()  # whoever waits for it is answered
                await world.records.flush()
        with contextlib.suppress(AdminError):
            await self.hypervisor.close()
        self.backend.close()
        if failed is not None:
            raise failed
        logger.info("stopped")

    async def _start(self, background: Background) -> tuple[World, list[Listener]]:
        world, ledger, hooks, rows = await self._assemble(background)
        is_new = not rows.get("qube")
        world.consoles.mkdir(mode=0o711, parents=True, exist_ok=True)
        await world.pools.open_all(new=is_new)
        await recover(world, rows.get("journal", ()), rows.get("running", ()))
        await world.journal.stored()
        streams = Streams(world.bus)
        corridor = Corridor(world, Gate(world, OnlyAdmin(), hooks), ledger, streams)
        return world, await self._listen(corridor)

    async def _assemble(self, background: Background) -> tuple[World, Ledger, Hooks, Rows]:
        waiting: list[DomainChange] = []
        worlds: list[World] = []

        def heard(change: DomainChange) -> None:
            if worlds:
                on_change(worlds[0], change)
            else:
                waiting.append(change)

        host = await self.hypervisor.open(heard)
        hooks = Hooks()
        for register in EXTENSIONS:
            register(hooks)
        system = System(Host(host.memory_mib, host.cpus), react=hooks.react)
        pools = Pools(system, self.root, self.config.below("storage"))
        system.has_kernel = pools.has_kernel
        rows = self.backend.load()
        fill(system, rows, lambda text: logger.error("left out of the store: %s", text))
        bus = Bus()
        ledger = Ledger(system, self.backend, bus)
        if is_fresh(system):
            driver = await asyncio.to_thread(fresh.choose_driver, self.root, self.config)
            fresh.set_up(system, self.root, driver)
        journal = Journal(system, ledger)
        await journal.stored()  # a fresh system that can't be kept is no system
        world = World(
            system, self.hypervisor, pools, journal, bus, self.agents, background, self.root
        )
        ledger.on_stored = world.records.note
        worlds.append(world)
        for change in waiting:
            on_change(world, change)
        return world, ledger, hooks, rows

    async def _listen(self, corridor: Corridor) -> list[Listener]:
        config = self.config
        limits = Limits(
            request_bytes=config["server.request_bytes"],
            header_bytes=config["server.header_bytes"],
            read_deadline_s=config["server.read_deadline_s"],
            write_deadline_s=config["server.write_deadline_s"],
            stream_idle_s=config["server.stream_idle_s"],
            connections=min(config["server.connections"], most_connections(len(SOCKETS))),
        )
        admitted = administrators(config["server.group"])
        receiving = Threads("incoming", _RECEIVERS)
        await asyncio.to_thread(services.install, self.root, self.root / SOCKETS[0][0])
        listeners = []
        for name, endpoint in SOCKETS:
            listener = Listener(corridor, endpoint, limits, admitted, receiving)
            await listener.open(self.root / name, admitted.group)
            listeners.append(listener)
        return listeners
