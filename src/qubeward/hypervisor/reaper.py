"""Bury ended QEMU processes at once: libvirt waits for their pids to vanish.

The embedded driver's QEMU processes are orphans that end up with PID 1, which may be slow. So
the daemon adopts them, and this thread reaps them by pid; everybody else's children are left to
those who started them.
"""

import contextlib
import ctypes
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_BUSY_PERIOD_S = 0.02
_IDLE_PERIOD_S = 0.5


class Reaper:
    """One thread of this process that looks for ended QEMU processes, often while calls run."""

    def __init__(self) -> None:
        self._busy = 0
        self._busy_until_s = 0.0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopped = False

    def start(self) -> None:
        """Become the parent of orphans and start looking."""
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        threading.Thread(target=self._look, name="virt-reaper", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped = True
        self._wake.set()

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """While in this block, look often: a call may be waiting for an end."""
        with self._lock:
            self._busy += 1
        self._wake.set()
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1

    def hurry(self, for_s: float) -> None:
        """Look often for a while: a guest is ending by itself."""
        self._busy_until_s = time.monotonic() + for_s
        self._wake.set()

    def _look(self) -> None:
        while not self._stopped:
            _reap()
            if self._busy or time.monotonic() < self._busy_until_s:
                time.sleep(_BUSY_PERIOD_S)
            else:
                self._wake.wait(_IDLE_PERIOD_S)
                self._wake.clear()


def _reap() -> None:
    own_session = os.getsid(0)
    for pid in _children():
        if _is_ended_qemu(pid, own_session):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def _children() -> Iterator[int]:
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # the thread ended meanwhile
            yield from map(int, (thread / "children").read_bytes().split())


def _is_ended_qemu(pid: int, own_session: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    # proc(5): pid (comm) state ppid pgrp session …; comm may hold spaces and parentheses
    name, _, rest = stat.partition("(")[2].rpartition(") ")
    state, _, _, session = rest.split()[:4]
    # libvirt starts QEMU in a session of its own; a QEMU in ours is somebody else's child
    return state == "Z" and name.startswith("qemu-system") and int(session) != own_session


def kill_qemu(pid_file: Path, uuid: str) -> None:
    """Kill the domain's QEMU, if the pid is still its."""
    with contextlib.suppress(OSError, ValueError):
        pid = int(pid_file.read_text())
        handle = os.pidfd_open(pid)
        try:
            # the handle is taken before the look: the pid can't become another's in between
            if uuid.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        finally:
            os.close(handle)
