"""Bytes in and out of volumes, with a bar that shows how far they are."""

import asyncio
import contextlib
import errno
import os
import stat
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from .screen import is_rich
from .session import safe

_CHUNK_BYTES: Final = 1 << 20

Advance = Callable[[int], None]


@contextmanager
def bar(text: str, total_bytes: int | None) -> Iterator[Advance]:
    """Show a bar on standard error, if it is a terminal; what is yielded moves it on."""
    if not is_rich(sys.stderr):
        yield lambda _: None
        return
    # Here, not above: it takes longer to load than most commands take to run.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(safe(text), total=total_bytes)
        yield lambda count: progress.advance(task, count)


def known_size(file: IO[bytes]) -> int | None:
    """Return the length of what a file is read from, or None: nobody knows, as of a pipe."""
    found = os.fstat(file.fileno())
    if stat.S_ISREG(found.st_mode):
        return max(0, found.st_size - file.tell())
    if stat.S_ISBLK(found.st_mode):
        at = file.seek(0, os.SEEK_CUR)
        size = file.seek(0, os.SEEK_END) - at
        file.seek(at)
        return size
    return None


async def chunks(file: IO[bytes], advance: Advance) -> AsyncIterator[bytes]:
    """Yield what is in a file, as fast as it is taken."""
    loop = asyncio.get_running_loop()
    while chunk := await loop.run_in_executor(None, os.read, file.fileno(), _CHUNK_BYTES):
        yield chunk
        advance(len(chunk))


def copy_out(source: Path, target: IO[bytes], size_bytes: int, advance: Advance) -> None:
    """Write a volume's data to a file, where holes stay holes, or to a pipe."""
    is_file = stat.S_ISREG(os.fstat(target.fileno()).st_mode) and not _appends(target)
    with source.open("rb", buffering=0) as file:
        done = 0
        for start, end in _data(file.fileno(), size_bytes) if is_file else [(0, size_bytes)]:
            file.seek(start)
            if is_file:
                target.seek(start)
            advance(start - done)
            done = _copy_range(file, target, start, min(end, size_bytes), advance)
        if is_file:
            target.truncate(size_bytes)
            advance(size_bytes - done)
        target.flush()


def _appends(target: IO[bytes]) -> bool:
    import fcntl  # noqa: PLC0415

    return bool(fcntl.fcntl(target.fileno(), fcntl.F_GETFL) & os.O_APPEND)


def _copy_range(file: IO[bytes], target: IO[bytes], start: int, end: int, advance: Advance) -> int:
    while start < end:
        chunk = file.read(min(_CHUNK_BYTES, end - start))
        if not chunk:
            raise OSError(errno.EIO, "the volume's data ended early")
        target.write(chunk)
        start += len(chunk)
        advance(len(chunk))
    return start


def _data(fd: int, size_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield the parts of a file that are no holes; a device has none."""
    offset = 0
    while offset < size_bytes:
        try:
            start = os.lseek(fd, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            yield offset, size_bytes
            return
        offset = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, offset


@contextmanager
def fresh_file(path: Path, *, force: bool) -> Iterator[IO[bytes]]:
    """Have a file to fill that gets its name once it is whole; raise `FileExistsError`."""
    if path.exists() and not force:
        raise FileExistsError(errno.EEXIST, f"{path} exists: name another file, or use --force")
    if path.exists() and not path.is_file():  # a device: there is nothing to put in its place
        with path.open("r+b") as file:
            yield file
        return
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
