"""How much files take on disk together, what they share counted once.

The file system is asked where the data is (FIEMAP: Documentation/filesystems/fiemap.rst of Linux).
It blocks: call it from threads (`host/threads.py`). It raises `OSError` and nothing else.
"""

import contextlib
import errno
import fcntl
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

# _IOWR('f', 11, struct fiemap), from <linux/fs.h>; the structures are of <linux/fiemap.h>.
_FS_IOC_FIEMAP: Final = 0xC020660B
_HEAD: Final = struct.Struct("=QQLLLL")  # start, length, flags, mapped, room, reserved
_EXTENT: Final = struct.Struct("=QQQ16xL12x")  # logical, physical, length, flags
_BATCH: Final = 1024
_EVERYTHING: Final = (1 << 64) - 1

_LAST: Final = 0x1
_UNKNOWN: Final = 0x2  # no place yet; all delayed ones have it too
_ENCODED: Final = 0x8  # compressed, say: the place is not as long as the data
_UNALIGNED: Final = 0x100  # inline with the inode, or in the tail of another block; has no place
_SHARED: Final = 0x2000

_REFUSED: Final = frozenset(
    {errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.ENOSYS, errno.EBADR}
)
_SECTOR_BYTES: Final = 512
_CHUNK_BLOCKS: Final = 1 << 15


class _Extent(NamedTuple):
    logical: int
    physical: int
    length: int
    flags: int


def unique_bytes(paths: Iterable[Path]) -> int:
    """Return how much the files take on disk together; missing ones take nothing.

    A file with several names counts once, and so does what clones share with each other. What they
    share with files that are not among these counts in full. Data that has no place yet counts by
    its length. So does compressed data, as it does in `st_blocks`: by what it is unpacked. (Of a
    compressed extent that clones have parts of, the part that is met first counts.)

    Where the file system has no FIEMAP, `st_blocks` counts, once for each file. A btrfs subvolume
    looks like a file system of its own: what is shared between two of them counts twice.

    It takes memory for what is shared alone, at most a bit for each block of the file system's:
    32 MiB for a TiB in blocks of 4 KiB.
    """
    seen: set[tuple[int, int]] = set()
    shared: dict[int, _Shared] = {}
    total = 0
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                found = os.fstat(fd)
                if (found.st_dev, found.st_ino) in seen:
                    continue
                seen.add((found.st_dev, found.st_ino))
                if found.st_dev not in shared:
                    shared[found.st_dev] = _Shared(os.fstatvfs(fd).f_bsize)
                total += _count(fd, found, shared[found.st_dev])
            finally:
                os.close(fd)
    return total


def _count(fd: int, found: os.stat_result, shared: "_Shared") -> int:
    """Return what a file adds to those counted before."""
    total = 0
    try:
        for extent in _extents(fd):
            placed = not extent.flags & (_UNKNOWN | _UNALIGNED)
            total += shared.add(extent) if placed and extent.flags & _SHARED else extent.length
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        return found.st_blocks * _SECTOR_BYTES
    return total


def _extents(fd: int) -> Iterator[_Extent]:
    """List where a file's data is, in its order; holes are left out."""
    batch = bytearray(_HEAD.size + _BATCH * _EXTENT.size)
    start = 0
    while True:
        _HEAD.pack_into(batch, 0, start, _EVERYTHING - start, 0, 0, _BATCH, 0)
        fcntl.ioctl(fd, _FS_IOC_FIEMAP, batch)
        mapped = _HEAD.unpack_from(batch)[3]
        found = memoryview(batch)[_HEAD.size : _HEAD.size + mapped * _EXTENT.size]
        extents = [_Extent(*fields) for fields in _EXTENT.iter_unpack(found)]
        yield from extents
        if not extents or extents[-1].flags & _LAST:
            return
        start = extents[-1].logical + extents[-1].length


class _Shared:
    """Which blocks of a file system have been counted: a bit each, in chunks made as needed.

    Extents that are not shared need none of this: nobody else comes to them.
    """

    def __init__(self, block_bytes: int) -> None:
        self._block_bytes = block_bytes
        self._counted: dict[int, bytearray] = {}
        self._counted_encoded: dict[int, bytearray] = {}

    def add(self, extent: _Extent) -> int:
        """Count an extent; return how many bytes of it are new."""
        first = extent.physical // self._block_bytes
        if extent.flags & _ENCODED:
            # how long it is there isn't told: its first block stands for all of it
            return extent.length if _mark(self._counted_encoded, first, first + 1) else 0
        end = -(-(extent.physical + extent.length) // self._block_bytes)
        return _mark(self._counted, first, end) * self._block_bytes


def _mark(chunks: dict[int, bytearray], first: int, end: int) -> int:
    """Set the bits from `first` to before `end`; return how many were not set."""
    new = 0
    while first < end:
        number, at = divmod(first, _CHUNK_BLOCKS)
        count = min(end - first, _CHUNK_BLOCKS - at)
        if number not in chunks:
            chunks[number] = bytearray(_CHUNK_BLOCKS // 8)
        chunk = chunks[number]
        low, high = at // 8, -(-(at + count) // 8)
        before = int.from_bytes(chunk[low:high], "little")
        after = before | (((1 << count) - 1) << at % 8)
        chunk[low:high] = after.to_bytes(high - low, "little")
        new += after.bit_count() - before.bit_count()
        first += count
    return new
