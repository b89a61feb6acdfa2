"""What libvirt says, in the contract's words: states, events, figures, errors.

The only importer of libvirt; `libvirt_connection` has it from here.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from ..errors import HypervisorError
from .driver import IO_ERROR, DomainInfo, DomainState

# libvirt reads this when it is loaded; its errors reach us as exceptions
os.environ.setdefault("LIBVIRT_LOG_OUTPUTS", "3:file:/dev/null")
import libvirt

__all__ = ("FIGURES", "as_hypervisor_error", "find_change", "info_of", "libvirt")

FIGURES = (
    libvirt.VIR_DOMAIN_STATS_STATE
    | libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
    | libvirt.VIR_DOMAIN_STATS_BALLOON
)

_STATES: dict[int, DomainState] = {
    libvirt.VIR_DOMAIN_NOSTATE: DomainState.RUNNING,
    libvirt.VIR_DOMAIN_RUNNING: DomainState.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: DomainState.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: DomainState.PAUSED,
    libvirt.VIR_DOMAIN_SHUTDOWN: DomainState.HALTING,
    libvirt.VIR_DOMAIN_SHUTOFF: DomainState.DYING,
    libvirt.VIR_DOMAIN_CRASHED: DomainState.CRASHED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: DomainState.SUSPENDED,
}
_EVENTS: dict[int, tuple[DomainState | None, str]] = {
    libvirt.VIR_DOMAIN_EVENT_STARTED: (DomainState.RUNNING, "started"),
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED: (DomainState.PAUSED, "paused"),
    libvirt.VIR_DOMAIN_EVENT_RESUMED: (DomainState.RUNNING, "unpaused"),
    libvirt.VIR_DOMAIN_EVENT_STOPPED: (None, "stopped"),
    libvirt.VIR_DOMAIN_EVENT_SHUTDOWN: (DomainState.HALTING, "shutdown"),
    libvirt.VIR_DOMAIN_EVENT_PMSUSPENDED: (DomainState.SUSPENDED, "suspended"),
    libvirt.VIR_DOMAIN_EVENT_CRASHED: (DomainState.CRASHED, "crashed"),
}
_REASONS: dict[tuple[int, int], str] = {
    (libvirt.VIR_DOMAIN_EVENT_SUSPENDED, libvirt.VIR_DOMAIN_EVENT_SUSPENDED_IOERROR): IO_ERROR,
    (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN): "shutdown",
    (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED): "destroyed",
    (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED): "crashed",
    (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_SAVED): "saved",
    (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED): "failed",
}


def find_change(event: int, detail: int) -> tuple[DomainState | None, str] | None:
    """Return what a lifecycle event says, state and reason; None if it is none of our business."""
    if event not in _EVENTS:
        return None
    state, reason = _EVENTS[event]
    return state, _REASONS.get((event, detail), reason)


def info_of(domain: Any, figures: dict[str, int]) -> DomainInfo:
    """Return a domain with the `FIGURES` that could be had."""
    maximum = figures.get("balloon.maximum", 0)
    return DomainInfo(
        uuid=UUID(domain.UUIDString()),
        name=domain.name(),
        id=domain.ID(),
        state=_STATES.get(figures.get("state.state", 0), DomainState.RUNNING),
        memory_kib=figures.get("balloon.current", maximum),
        max_memory_kib=maximum,
        cpu_time_ns=figures.get("cpu.time", 0),
    )


@contextlib.contextmanager
def as_hypervisor_error(what: str) -> Iterator[None]:
    """Raise `HypervisorError` for libvirt's errors from inside."""
    try:
        yield
    except libvirt.libvirtError as error:
        raise HypervisorError(what, _why(str(error))) from error


def _why(message: str) -> str:
    if "driver.pid" in message:
        return f"another process serves this system already ({message})"
    account = re.search(r"Failed to parse (?:user|group) '([^']+)'", message)
    if account is not None:
        # libvirt looks its built-in default up before it reads its settings
        name = account[1]
        return (
            f"this libvirt needs an account {name} to exist, though nothing runs as it:"
            f" useradd --system --user-group --no-create-home --shell /usr/sbin/nologin {name}"
        )
    return message
