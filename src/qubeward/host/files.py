"""Durable file primitives: what they return from is on the disk, whole, or was never there.

They block: call them from threads (`host/threads.py`). They raise `OSError` and nothing else.
"""

import contextlib
import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

FILE_MODE: Final = 0o600
DIRECTORY_MODE: Final = 0o711

# _IOW(0x94, 9, int), from <linux/fs.h>; the fcntl module names it from Python 3.12 on.
_FICLONE: Final = 0x40049409
_CLONE_REFUSED: Final = frozenset(
    {errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS}
)
_RANGE_REFUSED: Final = frozenset({errno.EXDEV, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})
_RANGE_BYTES: Final = 64 * 1024 * 1024
_BUFFER_BYTES: Final = 1024 * 1024
_PROBE_BYTES: Final = 64 * 1024


class CloneRefusedError(OSError):
    """The file system can't share blocks between these two files; a copy would work."""


@contextlib.contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    fd = os.open(path, flags | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _made(path: Path) -> Iterator[int]:
    """Make a file that must not exist yet, and take it away again if filling it fails."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    fd = os.open(path, flags, FILE_MODE)
    try:
        yield fd
    except OSError:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)


def sync_file(path: Path) -> None:
    """Wait until the file's data and size are on the disk."""
    with _opened(path, os.O_RDONLY) as fd:
        os.fsync(fd)


def take_back(path: Path) -> None:
    """Make the file this process's own again, and nobody else's to read or write.

    QEMU runs as another account, to which its disks are given. One that broke out must not be
    able to write to them once its guest is gone.
    """
    with _opened(path, os.O_RDONLY) as fd:
        if os.geteuid() == 0:
            os.fchown(fd, os.geteuid(), os.getegid())
        os.fchmod(fd, FILE_MODE)


def sync_directory(path: Path) -> None:
    """Wait until the directory's names are on the disk: after a rename, link or unlink in it."""
    with _opened(path, os.O_RDONLY | os.O_DIRECTORY) as fd:
        os.fsync(fd)


def switch_file(new: Path, path: Path) -> None:
    """Put `new` in the place of `path`: one durable switch, old content before it, new after.

    Both are in one directory. The data is synced before the name moves, so a power cut never
    leaves the name on a file whose blocks were not written.
    """
    sync_file(new)
    new.rename(path)
    sync_directory(path.parent)


def replace_file(path: Path, content: bytes, *, mode: int = FILE_MODE) -> None:
    """Write a small file: readers and crashes see the old content or the new, whole."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with _made(new) as fd:
        left = memoryview(content)
        while left:
            left = left[os.write(fd, left) :]
        os.fchmod(fd, mode)
    try:
        switch_file(new, path)
    except OSError:
        new.unlink(missing_ok=True)
        raise


def remove_file(path: Path) -> bool:
    """Remove the file, and say whether it was there. Not durable: sync the directory after."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def make_directory(path: Path, *, mode: int = DIRECTORY_MODE) -> None:
    """Make the directory and those above it, durably. One that exists is left as it is."""
    if path.is_dir():
        return
    make_directory(path.parent, mode=mode)
    try:
        path.mkdir(mode)
        path.chmod(mode)  # the umask may have taken the bits that let QEMU's user pass
    except FileExistsError as error:
        if not path.is_dir():  # another thread's is as good
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from error
    sync_directory(path.parent)


def make_sparse(path: Path, size_bytes: int) -> None:
    """Make a file of this size that reads as zeros and takes no blocks. It must not exist."""
    with _made(path) as fd:
        os.ftruncate(fd, size_bytes)


def grow_file(path: Path, size_bytes: int) -> None:
    """Make the file at least this long; what is added reads as zeros. Never shrinks."""
    with _opened(path, os.O_RDWR) as fd:
        if os.fstat(fd).st_size < size_bytes:
            os.ftruncate(fd, size_bytes)


def clone_file(source: Path, dest: Path) -> None:
    """Make `dest`, which must not exist, share all blocks of `source` (FICLONE).

    Takes the same time for any size. Raises `CloneRefusedError`, with nothing left behind, where
    the file system can't (ext4: EOPNOTSUPP; another file system: EXDEV).
    """
    with _opened(source, os.O_RDONLY) as from_fd, _made(dest) as to_fd:
        _clone(from_fd, to_fd)


def _clone(from_fd: int, to_fd: int) -> None:
    try:
        fcntl.ioctl(to_fd, _FICLONE, from_fd)
    except OSError as error:
        if error.errno in _CLONE_REFUSED:
            raise CloneRefusedError(error.errno, error.strerror) from error
        raise


def can_reflink(directory: Path) -> bool:
    """Try whether files in this directory can share blocks. Leaves nothing behind."""
    with (
        tempfile.TemporaryFile(dir=directory) as source,
        tempfile.TemporaryFile(dir=directory) as dest,
    ):
        source.write(b"\1" * _PROBE_BYTES)
        source.flush()
        try:
            _clone(source.fileno(), dest.fileno())
        except CloneRefusedError:
            return False
        return True


def copy_sparse(source: Path, dest: Path) -> None:
    """Copy to `dest`, which must not exist: holes stay holes, memory use is bounded.

    Takes time and space in proportion to the data of `source`. Not synced.
    """
    with _opened(source, os.O_RDONLY) as from_fd, _made(dest) as to_fd:
        size_bytes = os.fstat(from_fd).st_size
        os.ftruncate(to_fd, size_bytes)
        for start, end in data_extents(from_fd, size_bytes):
            _copy_extent(from_fd, to_fd, start, end)


def data_extents(fd: int, size_bytes: int) -> Iterator[tuple[int, int]]:
    """List the (start, end) of what is not a hole, in order, up to `size_bytes`."""
    offset = 0
    while offset < size_bytes:
        try:
            start = os.lseek(fd, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # no data from here to the end
                return
            raise
        offset = min(os.lseek(fd, start, os.SEEK_HOLE), size_bytes)
        if start < offset:
            yield start, offset


def _copy_extent(from_fd: int, to_fd: int, start: int, end: int) -> None:
    while start < end:
        count = min(end - start, _RANGE_BYTES)
        try:
            copied = os.copy_file_range(from_fd, to_fd, count, start, start)
        except OSError as error:
            if error.errno not in _RANGE_REFUSED:
                raise
            copied = _copy_through_buffer(from_fd, to_fd, start, min(count, _BUFFER_BYTES))
        if copied == 0:
            raise OSError(errno.EIO, "The file became shorter while it was copied")
        start += copied


def _copy_through_buffer(from_fd: int, to_fd: int, start: int, count: int) -> int:
    return os.pwrite(to_fd, os.pread(from_fd, count, start), start)


def has_data(path: Path) -> bool:
    """Say whether anything was ever written to the file (a hole of any size is nothing)."""
    with _opened(path, os.O_RDONLY) as fd:
        return any(True for _ in data_extents(fd, os.fstat(fd).st_size))


def find_size_bytes(path: Path) -> int | None:
    """Return the file's length, or None if there is no such file."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def allocated_bytes(path: Path) -> int:
    """Return what the file takes on disk, 0 if there is none.

    Blocks that a clone shares count in every file that shares them.
    """
    try:
        return path.stat().st_blocks * 512  # POSIX leaves the unit open; Linux says 512
    except FileNotFoundError:
        return 0


def filesystem_bytes(path: Path) -> tuple[int, int]:
    """Return the size of the file system that holds `path`, and how much of it is taken.

    What is kept back for root counts as not there: guests don't get it.
    """
    stat = os.statvfs(path)
    used = stat.f_blocks - stat.f_bfree
    return (used + stat.f_bavail) * stat.f_frsize, used * stat.f_frsize


def remove_empty_directory(path: Path) -> None:
    """Remove the directory, durably, if nothing is in it. No error if it isn't there.

    Where a file system is mounted it stays.
    """
    try:
        path.rmdir()
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EBUSY):
            return
        raise
    sync_directory(path.parent)
