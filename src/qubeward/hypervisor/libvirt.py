"""Domains through libvirt: the embedded QEMU driver, or any daemon of libvirt's.

Each kind of call has threads and a deadline of its own, so that what hangs in one leaves the others
alone; events are put in order and reported on the event loop.
"""

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, ParamSpec, TypeVar
from uuid import UUID

from ..errors import HypervisorError
from ..host.threads import Threads
from .access import IsVolume
from .domain import Accel, Machine
from .driver import (
    DomainChange,
    DomainInfo,
    DomainSpec,
    DomainState,
    HostInfo,
    OnChange,
)
from .embed import DEFAULT_ACCOUNT, Account, embed_root, embed_uri, find_account
from .libvirt_connection import Attempt, Connection, Settings

__all__ = (
    "DEFAULT_ACCOUNT",
    "Account",
    "LibvirtHypervisor",
    "embed_root",
    "embed_uri",
    "find_account",
)

P = ParamSpec("P")
R = TypeVar("R")

_OPEN_S, _CREATE_S, _ACT_S, _DESTROY_S, _LIST_S = 90.0, 120.0, 30.0, 30.0, 10.0
_EVENT_GRACE_S = 2.0
_MOST_CALLS_OF_A_DOMAIN = 2


class LibvirtHypervisor:
    """Keeps the drivers' contract through one connection, which is opened once.

    With an embedded URI: `account` is who QEMU runs as (needed by root, else None),
    `capabilities` a directory that keeps what libvirt knows of QEMU over reboots, and
    `is_volume` says of a resolved path whether it is a volume's file, which guests may share.
    `templates` is where administrators put domain templates of their own.
    """

    def __init__(
        self,
        uri: str,
        *,
        accel: Accel,
        machine: Machine = "q35",
        account: Account | None = None,
        security_driver: Literal["none", "apparmor", "selinux"] = "none",
        templates: Path | None = None,
        capabilities: Path | None = None,
        is_volume: IsVolume = lambda _path: False,
    ) -> None:
        self._connection = Connection(
            Settings(
                uri=uri,
                accel=accel,
                machine=machine,
                account=account,
                security_driver=security_driver,
                templates=templates,
                capabilities=capabilities,
                is_volume=is_volume,
            )
        )
        self._creating = Threads("virt-create", 8)
        self._acting = Threads("virt-act", 64)
        self._destroying = Threads("virt-destroy", 32)
        self._listing = Threads("virt-list", 4)
        self._calls: Counter[UUID] = Counter()
        self._calls_lock = threading.Lock()
        self._reported: dict[UUID, DomainState] = {}
        self._gone: dict[UUID, asyncio.Event] = {}
        self._on_change: OnChange | None = None

    async def open(self, on_change: OnChange) -> HostInfo:
        """Connect, and make the embedded driver's directory ready first."""
        self._on_change = on_change
        loop = asyncio.get_running_loop()

        def on_event(uuid: UUID, state: DomainState | None, reason: str) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._report, uuid, state, reason)

        host = await self._within(
            _OPEN_S, "connect", self._listing, self._connection.open, on_event
        )
        for info in await self.domains():
            self._reported.setdefault(info.uuid, info.state)
        return host

    async def close(self) -> None:
        """Disconnect; guests go on."""
        self._on_change = None
        await self._within(_ACT_S, "disconnect", self._listing, self._connection.close)
        for threads in (self._creating, self._acting, self._destroying, self._listing):
            threads.close()

    async def create(self, spec: DomainSpec) -> DomainInfo:
        """Create the domain, paused and transient: the store is its definition."""
        attempt = Attempt()
        work = self._connection.create
        try:
            return await self._within(
                _CREATE_S, f"create {spec.name}", self._creating, work, spec, attempt
            )
        except BaseException:
            attempt.abandoned.set()  # the thread, if it is still at it, undoes its work
            if attempt.is_under_way:
                await self.destroy(spec.uuid)
            if spec.uuid in self._reported:  # libvirt is silent on the end of what never began
                self._report(spec.uuid, None, "never started")
            raise

    async def unpause(self, uuid: UUID) -> None:
        """Let a paused domain run; no error if it does."""
        await self._act("unpause", uuid, self._connection.resume)

    async def pause(self, uuid: UUID) -> None:
        """Stop the domain's processors; no error if they are stopped."""
        await self._act("pause", uuid, self._connection.suspend)

    async def request_shutdown(self, uuid: UUID) -> None:
        """Press the guest's power button."""
        await self._act("request_shutdown", uuid, self._connection.press_power_button)

    async def resize_disk(self, uuid: UUID, serial: str, size_bytes: int) -> None:
        """Grow the disk, and its image where that is a file."""

        def work(uuid: UUID) -> None:
            self._connection.resize_disk(uuid, serial, size_bytes)

        await self._act("resize_disk", uuid, work)

    async def destroy(self, uuid: UUID) -> None:
        """End the domain at once; that it is gone is reported before this returns."""
        work = self._connection.destroy
        await self._within(_DESTROY_S, f"destroy {uuid}", self._destroying, work, uuid)
        if uuid in self._reported:
            gone = self._gone.setdefault(uuid, asyncio.Event())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_EVENT_GRACE_S):
                    await gone.wait()
            self._report(uuid, None, "destroyed")

    async def domains(self) -> Sequence[DomainInfo]:
        """List the domains, with the figures that can be had without waiting for a guest."""
        return await self._within(_LIST_S, "list", self._listing, self._connection.domains)

    async def console(self, uuid: UUID) -> str:
        """Return the pty of the domain's first serial port."""
        work = self._connection.console
        return await self._within(_LIST_S, f"console {uuid}", self._listing, work, uuid)

    def _report(self, uuid: UUID, state: DomainState | None, reason: str) -> None:
        """Pass on what is news: libvirt says many things twice."""
        if self._reported.get(uuid) is state:
            return
        if state is DomainState.HALTING and uuid not in self._reported:
            return  # of a start that failed: nobody has heard of the domain
        if state is None:
            del self._reported[uuid]
            gone = self._gone.pop(uuid, None)
            if gone is not None:
                gone.set()
        else:
            self._reported[uuid] = state
        if self._on_change is not None:
            self._on_change(DomainChange(uuid=uuid, state=state, reason=reason))

    async def _act(self, doing: str, uuid: UUID, work: Callable[[UUID], None]) -> None:
        # a domain that hangs keeps the threads of its calls: it may not take all there are
        with self._calls_lock:
            if self._calls[uuid] >= _MOST_CALLS_OF_A_DOMAIN:
                raise HypervisorError(f"{doing} {uuid}", "earlier calls still hang")
            self._calls[uuid] += 1
        await self._within(_ACT_S, f"{doing} {uuid}", self._acting, self._counted, work, uuid)

    def _counted(self, work: Callable[[UUID], None], uuid: UUID) -> None:
        try:
            work(uuid)
        finally:
            with self._calls_lock:
                self._calls[uuid] -= 1
                if not self._calls[uuid]:
                    del self._calls[uuid]

    async def _within(
        self,
        deadline_s: float,
        what: str,
        threads: Threads,
        work: Callable[P, R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        try:
            async with asyncio.timeout(deadline_s):
                return await threads.run(work, *args, **kwargs)
        except TimeoutError as error:
            raise HypervisorError(what, f"no answer within {deadline_s:g} s") from error
