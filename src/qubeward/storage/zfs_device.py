"""Finding the device of a ZFS volume: the right one.

udev links `/dev/zvol/DATASET` to a device, a little after the command that made it has ended. Until
then the name may lead to a device that another volume has got: so the device is asked who it is.
"""

import fcntl
import os
import time
from pathlib import Path
from typing import Final

from ..errors import StorageError

# _IOR(0x12, 125, char[256]), from OpenZFS's <sys/fs/zfs.h>
_BLKZNAME: Final = 0x8100127D
_NAME_BYTES: Final = 256
_TIMEOUT_S: Final = 15
_POLL_S: Final = 0.02


def find_name(device: Path) -> str | None:
    """Return which ZFS volume this is the device of; None if it is none, or not there (yet)."""
    buffer = bytearray(_NAME_BYTES)
    try:
        fd = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.ioctl(fd, _BLKZNAME, buffer)
    except OSError:
        return None
    finally:
        os.close(fd)
    return buffer.partition(b"\0")[0].decode(errors="replace")


def await_name(what: str, device: Path, dataset: str) -> Path:
    """Return the path once it leads to the device of this dataset."""
    deadline_s = time.monotonic() + _TIMEOUT_S
    while find_name(device) != dataset:
        if time.monotonic() > deadline_s:
            raise StorageError(what, f"its device did not appear in {_TIMEOUT_S} s")
        time.sleep(_POLL_S)
    return device
