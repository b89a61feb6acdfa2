"""What a hypervisor driver does: the contract that every driver's tests hold it to.

A driver speaks in uuids, names and bytes. It knows nothing of qubes' classes, policy or storage
pools. Every call may take long and none blocks the event loop; calls about one domain that hangs
delay no other domain.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Protocol
from uuid import UUID


class DomainState(Enum):
    """Where a domain that the hypervisor knows is in its life (libvirt's virDomainState)."""

    RUNNING = "running"
    PAUSED = "paused"
    SUSPENDED = "suspended"
    HALTING = "halting"
    DYING = "dying"
    CRASHED = "crashed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """One disk of a domain. `serial` is the volume's name: guests find their disks by it.

    No two of a domain have the same. A disk's place among them is its place in the guest (vda, vdb
    …). `format` is `raw`, `qcow2`, or `luks` with its `key`, the passphrase, which only `create`
    uses. While the host has no room for what a guest writes, the guest is paused: no errors.
    """

    serial: str
    path: str
    format: str = "raw"
    read_only: bool = False
    key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectKernel:
    """A kernel the hypervisor loads itself, and its command line."""

    vmlinuz: str
    initramfs: str | None
    options: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainSpec:
    """All that is needed to run a domain. Paths are absolute paths of the host."""

    uuid: UUID
    name: str
    memory_mib: int
    max_memory_mib: int
    vcpus: int
    disks: Sequence[Disk]
    kernel: DirectKernel | None = None
    console_log: str | None = None
    debug: bool = False
    features: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainInfo:
    """A domain as it is now. Memory in KiB, CPU time in nanoseconds."""

    uuid: UUID
    name: str
    id: int
    state: DomainState
    memory_kib: int
    max_memory_kib: int
    cpu_time_ns: int


IO_ERROR: Final = "I/O error"


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainChange:
    """Something happened to a domain, whoever asked for it. `state` None: it is gone.

    `reason` is for the log. It is `IO_ERROR` for a domain that was paused because the host had no
    room for what it wrote; unpaused, it writes that again.
    """

    uuid: UUID
    state: DomainState | None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostInfo:
    """What the host has: memory in MiB, logical CPUs, and how guests are accelerated."""

    memory_mib: int
    cpus: int
    accel: str


OnChange = Callable[[DomainChange], None]


class Hypervisor(Protocol):
    """A driver. Errors are `HypervisorError`, with what failed and why."""

    async def open(self, on_change: OnChange) -> HostInfo:
        """Connect. `on_change` is called on the event loop, in order for each domain.

        Called once, before any other. Domains that already run keep running and are
        listed by `domains()`; every later change of theirs is reported.
        """

    async def close(self) -> None:
        """Disconnect. Domains keep running (but the fake's, which live in this process)."""

    async def create(self, spec: DomainSpec) -> DomainInfo:
        """Create the domain, paused at its first instruction.

        Raises `HypervisorError`; then nothing of the domain is left.
        """

    async def unpause(self, uuid: UUID) -> None:
        """Let a paused domain run. No error if it runs."""

    async def pause(self, uuid: UUID) -> None:
        """Stop a domain's processors; its memory stays. No error if they are stopped."""

    async def request_shutdown(self, uuid: UUID) -> None:
        """Ask the guest to power off (ACPI), and return once it is asked.

        Raises `HypervisorError` for a domain that is not running.
        """

    async def destroy(self, uuid: UUID) -> None:
        """End the domain at once. No error if there is none; works while other calls hang.

        That the domain is gone is reported before this returns: what is reported later is
        of a domain created later.
        """

    async def domains(self) -> Sequence[DomainInfo]:
        """List the domains that exist now, with figures. A hung domain delays nothing."""

    async def resize_disk(self, uuid: UUID, serial: str, size_bytes: int) -> None:
        """Let the guest see a new size of the disk with this serial, and grow its image's file.

        An image that is a block device was made larger before. Never shrinks. Raises
        `HypervisorError` for a smaller size, an unknown domain or disk, and an encrypted disk,
        which is larger only when it is made anew.
        """

    async def console(self, uuid: UUID) -> str:
        """Return the path of the domain's console, a tty of the host."""
