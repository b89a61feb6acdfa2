"""A hypervisor in memory: guests boot and power off at once, and fail when a test says so."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from ..errors import HypervisorError
from .driver import (
    IO_ERROR,
    DomainChange,
    DomainInfo,
    DomainSpec,
    DomainState,
    HostInfo,
    OnChange,
)

_STARTED_CPU_TIME_NS = 1_000_000_000
_REMEMBERED_CALLS = 10_000
#: Above any tty that a host has: nobody may mistake somebody's terminal for a console.
_NO_TTY = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """How a call misbehaves, `times` times (None: always): it waits, then hangs or fails."""

    delay_s: float = 0
    hang: bool = False
    error: Exception | None = None
    times: int | None = None


@dataclass(slots=True)
class _Guest:
    spec: DomainSpec
    info: DomainInfo
    sizes_bytes: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class FakeHypervisor:
    """Keeps the drivers' contract without a host; the hooks below `console` are for tests.

    `calls` holds what was called last, as (method, uuid). Guests whose uuid is in
    `deaf` ignore `request_shutdown`.
    """

    memory_mib: int = 16384
    cpus: int = 4
    calls: deque[tuple[str, UUID | None]] = field(
        default_factory=lambda: deque(maxlen=_REMEMBERED_CALLS)
    )
    deaf: set[UUID] = field(default_factory=set)
    _guests: dict[UUID, _Guest] = field(default_factory=dict)
    _faults: dict[tuple[str, UUID | None], Fault] = field(default_factory=dict)
    _on_change: OnChange | None = None
    _last_id: int = 0

    async def open(self, on_change: OnChange) -> HostInfo:
        """Report changes from now on."""
        await self._enter("open", None)
        self._on_change = on_change
        return HostInfo(memory_mib=self.memory_mib, cpus=self.cpus, accel="fake")

    async def close(self) -> None:
        """End all guests, without a word."""
        await self._enter("close", None)
        self._on_change = None
        self._guests.clear()

    async def create(self, spec: DomainSpec) -> DomainInfo:
        """Make a paused guest."""
        await self._enter("create", spec.uuid)
        if spec.uuid in self._guests or spec.name in self._names():
            raise HypervisorError(f"create {spec.name}", "it exists already")
        self._last_id += 1
        info = DomainInfo(
            uuid=spec.uuid,
            name=spec.name,
            id=self._last_id,
            state=DomainState.PAUSED,
            memory_kib=spec.memory_mib * 1024,
            max_memory_kib=spec.max_memory_mib * 1024,
            cpu_time_ns=_STARTED_CPU_TIME_NS,
        )
        self._guests[spec.uuid] = _Guest(spec, info)
        self._tell(spec.uuid, DomainState.PAUSED, "created")
        return info

    async def unpause(self, uuid: UUID) -> None:
        """Let the guest run."""
        await self._enter("unpause", uuid)
        self._existing("unpause", uuid)
        self._become(uuid, DomainState.RUNNING, "unpaused")

    async def pause(self, uuid: UUID) -> None:
        """Stop the guest."""
        await self._enter("pause", uuid)
        self._existing("pause", uuid)
        self._become(uuid, DomainState.PAUSED, "paused")

    async def request_shutdown(self, uuid: UUID) -> None:
        """Power the guest off, unless it is deaf."""
        await self._enter("request_shutdown", uuid)
        guest = self._existing("request_shutdown", uuid)
        if guest.info.state is not DomainState.RUNNING:
            raise HypervisorError(f"request_shutdown {uuid}", "the domain is not running")
        if uuid not in self.deaf:
            self.end(uuid, "shutdown")

    async def resize_disk(self, uuid: UUID, serial: str, size_bytes: int) -> None:
        """Note the new size."""
        await self._enter("resize_disk", uuid)
        guest = self._existing("resize_disk", uuid)
        what = f"resize disk {serial} of {uuid}"
        disk = next((disk for disk in guest.spec.disks if disk.serial == serial), None)
        if disk is None:
            raise HypervisorError(what, "no such disk")
        if disk.key is not None:
            raise HypervisorError(what, "it is encrypted: it grows at the domain's next start")
        if size_bytes < guest.sizes_bytes.get(serial, 0):
            raise HypervisorError(what, f"it has {guest.sizes_bytes[serial]} bytes, never less")
        guest.sizes_bytes[serial] = size_bytes

    async def destroy(self, uuid: UUID) -> None:
        """End the guest, if there is one."""
        await self._enter("destroy", uuid)
        if uuid in self._guests:
            self.end(uuid, "destroyed")
            await asyncio.sleep(0)  # the contract: reported before this returns

    async def domains(self) -> Sequence[DomainInfo]:
        """List the guests."""
        await self._enter("domains", None)
        return [guest.info for guest in self._guests.values()]

    async def console(self, uuid: UUID) -> str:
        """Return a path that looks like a tty, and need not exist."""
        await self._enter("console", uuid)
        return f"/dev/pts/{_NO_TTY + self._existing('console', uuid).info.id}"

    def inject(self, method: str, fault: Fault, uuid: UUID | None = None) -> None:
        """Make calls of `method` misbehave, about one domain or (None) about any."""
        self._faults[method, uuid] = fault

    def heal(self) -> None:
        """Forget all injected faults; calls that hang already hang on."""
        self._faults.clear()

    def end(self, uuid: UUID, reason: str = "shutdown") -> None:
        """Let the guest be gone, as one that powered itself off."""
        del self._guests[uuid]
        self._tell(uuid, None, reason)

    def crash(self, uuid: UUID) -> None:
        """Let the guest crash: it is reported so, and then gone."""
        self._become(uuid, DomainState.CRASHED, "crashed")
        self.end(uuid, "crashed")

    def fail_io(self, uuid: UUID) -> None:
        """Let the host have no room for what the guest writes."""
        self._become(uuid, DomainState.PAUSED, IO_ERROR)

    def sizes_bytes(self, uuid: UUID) -> dict[str, int]:
        """Return the sizes that the running domain's disks were given since, by serial."""
        return dict(self._guests[uuid].sizes_bytes)

    def spec(self, uuid: UUID) -> DomainSpec:
        """Return what the running domain was created from."""
        return self._guests[uuid].spec

    def _names(self) -> set[str]:
        return {guest.spec.name for guest in self._guests.values()}

    def _existing(self, doing: str, uuid: UUID) -> _Guest:
        guest = self._guests.get(uuid)
        if guest is None:
            raise HypervisorError(f"{doing} {uuid}", "no such domain")
        return guest

    def _become(self, uuid: UUID, state: DomainState, reason: str) -> None:
        guest = self._guests[uuid]
        if guest.info.state is state:
            return
        guest.info = replace(guest.info, state=state)
        self._tell(uuid, state, reason)

    def _tell(self, uuid: UUID, state: DomainState | None, reason: str) -> None:
        if self._on_change is not None:
            change = DomainChange(uuid=uuid, state=state, reason=reason)
            asyncio.get_running_loop().call_soon(self._on_change, change)

    async def _enter(self, method: str, uuid: UUID | None) -> None:
        self.calls.append((method, uuid))
        if method != "open" and self._on_change is None:
            raise HypervisorError(method, "the driver is not open")
        key = (method, uuid) if (method, uuid) in self._faults else (method, None)
        fault = self._faults.get(key)
        if fault is None:
            return
        if fault.times is not None:
            if fault.times > 1:
                self._faults[key] = replace(fault, times=fault.times - 1)
            else:
                del self._faults[key]
        if fault.delay_s:
            await asyncio.sleep(fault.delay_s)
        if fault.hang:
            await asyncio.get_running_loop().create_future()
        if fault.error is not None:
            raise fault.error
