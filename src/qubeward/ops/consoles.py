"""Console logs: no guest fills the disk with its own, and each is gone with its qube."""

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Final

from .world import World

#: Bytes that a qube's console may log before all but the last part is dropped.
LIMIT_BYTES: Final = 16 << 20
_KEPT_BYTES: Final = 1 << 20


def _log(directory: Path, name: str) -> Path:
    return directory / f"{name}.log"


def remove(directory: Path, name: str) -> None:
    """Remove what a qube's console logged."""
    log = _log(directory, name)
    for path in (log, log.with_suffix(".log.old")):
        path.unlink(missing_ok=True)


def trim(directory: Path, name: str) -> bool:
    """Cut a log that is too long; its last part is kept beside it. Return whether it was.

    QEMU appends (O_APPEND), so that a file cut to nothing is simply begun again.
    """
    log = _log(directory, name)
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size <= LIMIT_BYTES:
            return False
        with log.open("r+b") as file:
            file.seek(-_KEPT_BYTES, os.SEEK_END)
            log.with_suffix(".log.old").write_bytes(file.read(_KEPT_BYTES))
            file.truncate(0)
        return True
    return False


async def trim_all(world: World) -> None:
    """Cut the logs of running qubes that are too long, off the event loop."""
    names = [qube.name for qube in world.system.qubes.values() if not qube.power.is_halted]
    if names:
        await asyncio.to_thread(lambda: [trim(world.consoles, name) for name in names])
