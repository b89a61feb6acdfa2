"""Moving bytes of any amount into a file or block device: from a stream, or from another image.

They block: call them from threads (`host/threads.py`). What is in memory is one buffer. They raise
`OSError`, and `TooLongError` where there is a limit.

A target that reads as zeros is filled sparsely: blocks of zeros are not written, so that holes stay
holes. Writing to the disk begins while bytes still come. So the sync at the end has little left to
wait for, and an import of any size leaves memory to others.
"""

import errno
import os
import select
import stat
import threading
import time
from collections.abc import Iterable, Iterator
from enum import Enum, auto
from pathlib import Path
from typing import Final, Protocol

from . import files

_BUFFER_BYTES: Final = 1 << 20
#: Zeros are looked for in pieces of this size, aligned to their place in the file.
_BLOCK_BYTES: Final = 64 << 10
#: A bytearray, because those alone compare with any buffer by memcmp.
_ZEROS: Final = bytearray(_BLOCK_BYTES)
#: Writing to the disk begins each time that so much has been written to memory.
_WRITEBACK_BYTES: Final = 8 << 20
#: What `copy_file_range` says where only reading and writing does the work.
_RANGE_REFUSED: Final = frozenset(
    {errno.EXDEV, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.EPERM}
)


class TooLongError(Exception):
    """More bytes came than the limit allows."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"more than {limit_bytes} bytes came")
        self.limit_bytes = limit_bytes


class Pumped(Enum):
    """Why `Pour.pump` returned."""

    #: As much came as it was to move; more may be there.
    MORE = auto()
    #: Nothing more came within its patience.
    WAITING = auto()
    #: The stream ended. From a sender that was killed it looks alike.
    END = auto()


class Progress(Protocol):
    """Where `copy` tells how far it is, and is told to end. Other threads read and set it."""

    done_bytes: int
    cancelled: threading.Event


class Pour:
    """Writes a stream to an open file or block device, from its beginning on.

    For one thread at a time, but for `done_bytes`, which any may read. The target's file is as long
    as the stream will be, or grows. With `sparse` it must read as zeros: without it every byte is
    written, as a device with old content needs.
    """

    def __init__(self, target_fd: int, limit_bytes: int | None, *, sparse: bool = True) -> None:
        self.done_bytes = 0
        self._target = _Target(target_fd, sparse=sparse)
        self._limit_bytes = limit_bytes
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))

    def feed(self, data: bytes | memoryview) -> None:
        """Write bytes that were read already; nothing of them, if they pass the limit."""
        view = memoryview(data).cast("B")
        if self._limit_bytes is not None and self.done_bytes + len(view) > self._limit_bytes:
            raise TooLongError(self._limit_bytes)
        for at in range(0, len(view), _BUFFER_BYTES):
            self._write(view[at : at + _BUFFER_BYTES])

    def pump(self, source_fd: int, *, most_bytes: int, patience_s: float) -> Pumped:
        """Write what there is to read, at most `most_bytes` of it.

        The source is a stream's end, blocking or not. All waits for more together take at most
        `patience_s`. What was read is written before it returns. A reset is an `OSError`.
        """
        source = _Source(source_fd, patience_s)
        until = self.done_bytes + most_bytes
        while self.done_bytes < until:
            if self.done_bytes == self._limit_bytes:
                return self._after_limit(source)
            # full buffers end where a block does: zeros are found, and no page is written twice
            want = min(_BUFFER_BYTES - self.done_bytes % _BUFFER_BYTES, until - self.done_bytes)
            if self._limit_bytes is not None:
                want = min(want, self._limit_bytes - self.done_bytes)
            have, why = source.fill(self._buffer[:want])
            self._write(self._buffer[:have])
            if why is not Pumped.MORE:
                return why
        return Pumped.MORE

    def finish(self) -> None:
        """Wait until all is on the disk. Raises what writing it comes to, such as a full disk."""
        self._target.fit(self.done_bytes)
        self._target.sync()

    def _write(self, view: memoryview) -> None:
        self._target.write(view, self.done_bytes)
        self.done_bytes += len(view)

    def _after_limit(self, source: "_Source") -> Pumped:
        """Tell a stream that ends where it must from one that does not."""
        have, why = source.fill(self._buffer[:1])
        if have:
            raise TooLongError(self.done_bytes)
        return why


class _Source:
    """The readable end of a stream, and how much longer to wait for it."""

    def __init__(self, fd: int, patience_s: float) -> None:
        self._fd = fd
        self._left_s = patience_s
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        self._blocking = os.get_blocking(fd)

    def fill(self, view: memoryview) -> tuple[int, Pumped]:
        """Read until the buffer is full (`MORE`), and say why if it isn't."""
        have = 0
        while have < len(view):
            if self._blocking and not self._await():
                return have, Pumped.WAITING
            try:
                count = os.readv(self._fd, [view[have:]])
            except BlockingIOError:
                if not self._await():
                    return have, Pumped.WAITING
                continue
            if count == 0:
                return have, Pumped.END
            have += count
        return have, Pumped.MORE

    def _await(self) -> bool:
        """Wait for something to read, the end or a failure included."""
        began_s = time.monotonic()
        ready = bool(self._poll.poll(max(0.0, self._left_s) * 1000))
        self._left_s -= time.monotonic() - began_s
        return ready


class _Target:
    """What is written to: a file or a block device."""

    def __init__(self, fd: int, *, sparse: bool) -> None:
        self._fd = fd
        self._sparse = sparse
        self._begun_bytes = 0

    def write(self, view: memoryview, offset: int) -> None:
        """Write the bytes there, but for blocks of zeros."""
        for start, end in self.runs(view, offset):
            _write_all(self._fd, view[start:end], offset + start)
        self.begin_writeback(offset + len(view))

    def runs(self, view: memoryview, offset: int) -> Iterable[tuple[int, int]]:
        """List the (start, end) of what must be written of it."""
        return _data_runs(view, offset) if self._sparse else ((0, len(view)),)

    def begin_writeback(self, done_bytes: int) -> None:
        """Let the kernel begin to write what came up to here, in steps, without waiting for it."""
        count = done_bytes - self._begun_bytes
        if count >= _WRITEBACK_BYTES:
            # "Don't need" of pages that are not on the disk yet is "write them" (mm/fadvise.c).
            os.posix_fadvise(self._fd, self._begun_bytes, count, os.POSIX_FADV_DONTNEED)
            self._begun_bytes = done_bytes

    def fit(self, size_bytes: int) -> None:
        """Let it end no earlier than that: zeros at the end are not written, nor missed."""
        if _find_size(self._fd) < size_bytes:
            if not stat.S_ISREG(os.fstat(self._fd).st_mode):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.ftruncate(self._fd, size_bytes)

    def sync(self) -> None:
        """Wait until all that was written is on the disk."""
        os.fdatasync(self._fd)


def copy(source: Path, target: Path, progress: Progress | None = None) -> bool:
    """Copy a raw image into a file or block device that reads as zeros; say whether all was copied.

    It was not if it was cancelled; then the target has a part. Holes and zeros are not written, and
    blocks are shared where the file system does so by itself. A file is made as long as the image
    if it is shorter; a longer target keeps its size. On the disk when it returns.
    """
    with source.open("rb", buffering=0) as from_file, target.open("r+b", buffering=0) as to_file:
        size_bytes = _find_size(from_file.fileno())
        copier = _Copier(from_file.fileno(), to_file.fileno())
        copier.target.fit(size_bytes)  # a device that is too small says so before the work
        for start, end in _extents(from_file.fileno(), size_bytes):
            for at in range(start, end, _BUFFER_BYTES):
                if progress is not None:
                    progress.done_bytes = at
                    if progress.cancelled.is_set():
                        return False
                copier.copy(at, min(at + _BUFFER_BYTES, end))
        copier.target.sync()
    if progress is not None:
        progress.done_bytes = size_bytes
    return True


class _Copier:
    """Copies ranges between two files: in the kernel, as long as it does not refuse."""

    def __init__(self, from_fd: int, to_fd: int) -> None:
        self.target = _Target(to_fd, sparse=True)
        self._from_fd = from_fd
        self._to_fd = to_fd
        self._by_kernel = True
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))

    def copy(self, start: int, end: int) -> None:
        """Copy a range that fits the buffer."""
        view = self._buffer[: end - start]
        _read_all(self._from_fd, view, start)
        for first, last in self.target.runs(view, start):
            done = first + self._copy_by_kernel(start + first, last - first)
            _write_all(self._to_fd, view[done:last], start + done)
        self.target.begin_writeback(end)

    def _copy_by_kernel(self, offset: int, count: int) -> int:
        """Return how much of it the kernel copied."""
        if self._by_kernel:
            try:
                return os.copy_file_range(self._from_fd, self._to_fd, count, offset, offset)
            except OSError as error:
                if error.errno not in _RANGE_REFUSED:
                    raise
                self._by_kernel = False
        return 0


def _data_runs(view: memoryview, offset: int) -> Iterator[tuple[int, int]]:
    """List the (start, end) of what is not blocks of zeros; neighbours are one run."""
    start = at = 0
    while at < len(view):
        end = min(len(view), at + _BLOCK_BYTES - (offset + at) % _BLOCK_BYTES)
        if _is_zero(view[at:end]):
            if start < at:
                yield start, at
            start = end
        at = end
    if start < at:
        yield start, at


def _is_zero(view: memoryview) -> bool:
    """Compare with zeros; that looks no further than the first byte which is none."""
    zeros = _ZEROS if len(view) == _BLOCK_BYTES else bytearray(len(view))
    return zeros == view


def _write_all(fd: int, view: memoryview, offset: int) -> None:
    while view:
        count = os.pwrite(fd, view, offset)
        view, offset = view[count:], offset + count


def _read_all(fd: int, view: memoryview, offset: int) -> None:
    while view:
        count = os.preadv(fd, [view], offset)
        if count == 0:
            raise OSError(errno.EIO, "The image became shorter while it was copied")
        view, offset = view[count:], offset + count


def _find_size(fd: int) -> int:
    """Return the size of a file or a block device."""
    return os.lseek(fd, 0, os.SEEK_END)


def _extents(fd: int, size_bytes: int) -> Iterable[tuple[int, int]]:
    """List what may be data; of a block device, that is all of it."""
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return files.data_extents(fd, size_bytes)
    return ((0, size_bytes),)
