"""One process at a time: a lock that the kernel lets go of when its holder ends."""

import fcntl
import os
from pathlib import Path
from typing import IO


class LockHeldError(Exception):
    """Another process has the lock; `pid` is what it wrote there, or `unknown`."""

    def __init__(self, pid: str) -> None:
        super().__init__(f"process {pid} has it")
        self.pid = pid


def hold_lock(path: Path) -> IO[str]:
    """Take the lock, and hold it until what is returned is closed; raise `LockHeldError`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = path.open("a+", encoding="ascii")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.seek(0)
        pid = handle.read().strip() or "unknown"
        handle.close()
        raise LockHeldError(pid) from None
    handle.truncate(0)
    handle.write(f"{os.getpid()}\n")
    handle.flush()
    return handle
