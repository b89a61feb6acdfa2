"""A qube's power: kept current from what the hypervisor says, never stored."""

from dataclasses import dataclass
from uuid import UUID

from ..spec.vm_body import PowerState


@dataclass(slots=True)
class Power:
    """Where a qube is in its life, and its last known figures.

    `xid` is the hypervisor's number of the domain, -1 without one. `start_time_s` is seconds since
    1970. Memory in KiB, CPU time in nanoseconds.
    """

    state: PowerState = PowerState.HALTED
    xid: int = -1
    start_time_s: float | None = None
    start_guid: UUID | None = None
    memory_kib: int = 0
    max_memory_kib: int = 0
    cpu_time_ns: int = 0

    @property
    def is_halted(self) -> bool:
        """Tell whether nothing of the qube runs."""
        return self.state is PowerState.HALTED

    @property
    def is_running(self) -> bool:
        """Tell whether the qube's processors run, booted or not."""
        return self.state in _RUNNING


_RUNNING = frozenset({PowerState.RUNNING, PowerState.TRANSIENT, PowerState.HALTING})
