"""Space held back on the store's disk, and given up when a commit finds none."""

import errno
import logging
import os
import time
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

RESERVE_BYTES: Final = 16 << 20
#: Free bytes beyond the reserve before it is taken again, and seconds between looks.
_ROOM_BYTES: Final = 64 << 20
_LOOK_S: Final = 10.0


class Reserve:
    """A file that takes space so that others can't. Blocking; for one thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._next_look_s = 0.0
        self._is_held = False

    def take(self) -> None:
        """Make the file, unless it is there or the disk has no room for it: that is no error."""
        self._next_look_s = time.monotonic() + _LOOK_S
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            log.warning("no space can be held back for the store: %s", error.strerror)
            return
        try:
            free = os.fstatvfs(fd)
            wanted = RESERVE_BYTES - os.fstat(fd).st_blocks * 512
            if wanted > 0:
                if free.f_bavail * free.f_frsize < wanted + _ROOM_BYTES:
                    os.ftruncate(fd, 0)
                    return
                os.posix_fallocate(fd, 0, RESERVE_BYTES)
                os.fsync(fd)
            self._is_held = True
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EOPNOTSUPP, errno.EDQUOT):
                log.warning("no space can be held back for the store: %s", error.strerror)
            os.ftruncate(fd, 0)
        finally:
            os.close(fd)

    def give_up(self) -> bool:
        """Let the space go, and return whether there was any."""
        held, self._is_held = self._is_held, False
        if held:
            log.warning("the disk is full: the space held back for the store is given up")
            self._path.unlink(missing_ok=True)
            self._next_look_s = time.monotonic() + _LOOK_S
        return held

    def look(self) -> None:
        """Take the space again once there is room; looks at most every few seconds."""
        if not self._is_held and time.monotonic() >= self._next_look_s:
            self.take()
