"""The `memory` driver: a pool for tests, gone with the process.

The path in a `BlockImage` of it is only a name: no file is there. Who plays the guest reads and
writes through `MemoryDriver.image(path)`. The path of `import_begin` can be opened and written, by
this process alone (it is a memfd).
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from ..errors import StorageError
from ..host.files import data_extents
from .driver import BlockImage, Capabilities, Usage, VolumeSpec
from .layout import VolumeFiles, parse_vid

CAPABILITIES: Final = Capabilities(cheap_snapshots=True, keeps_revisions=False)

_NOWHERE: Final = Path("/nonexistent/qubeward-memory")
_BLOCK: Final = 4096
_POOL_BYTES: Final = 1 << 40


class MemoryImage:
    """Sparse bytes: blocks that were never written take nothing and read as zeros."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self._blocks: dict[int, bytes] = {}

    @property
    def usage_bytes(self) -> int:
        """What was written, in whole blocks."""
        return len(self._blocks) * _BLOCK

    def copy(self, size_bytes: int) -> "MemoryImage":
        """Return a copy at least this long. It shares the blocks, which never change."""
        copied = MemoryImage(max(self.size_bytes, size_bytes))
        copied._blocks = dict(self._blocks)
        return copied

    def read(self, offset: int, count: int) -> bytes:
        """Return the bytes there, fewer at the end of the image."""
        end = min(offset + count, self.size_bytes)
        if offset >= end:
            return b""
        first, last = offset // _BLOCK, (end - 1) // _BLOCK
        zeros = bytes(_BLOCK)
        whole = b"".join(self._blocks.get(i, zeros) for i in range(first, last + 1))
        return whole[offset - first * _BLOCK : end - first * _BLOCK]

    def write(self, offset: int, data: bytes) -> None:
        """Put the bytes there. `ValueError` beyond the end: a disk does not grow by writing."""
        if offset + len(data) > self.size_bytes:
            raise ValueError(offset + len(data), self.size_bytes)
        while data:
            index, skip = divmod(offset, _BLOCK)
            piece = data[: _BLOCK - skip]
            block = self._blocks.get(index, bytes(_BLOCK))
            self._blocks[index] = block[:skip] + piece + block[skip + len(piece) :]
            data, offset = data[len(piece) :], offset + len(piece)


class MemoryDriver:
    """A pool in memory. Nothing blocks, so nothing runs in threads."""

    capabilities = CAPABILITIES

    def __init__(self) -> None:
        self._images: dict[Path, MemoryImage] = {}
        self._imports: dict[Path, int] = {}

    def image(self, path: Path) -> MemoryImage:
        """Return what `start` gave as this path, to read and write as a guest would."""
        return self._images[path]

    async def setup(self) -> None:
        """Do nothing."""

    async def create(self, volume: VolumeSpec) -> None:
        """Make an empty image, if the volume is saved; refuse to take over data."""
        at = parse_vid(_NOWHERE, volume.vid)
        if not volume.save_on_stop:
            return
        old = self._images.get(at.committed, MemoryImage(0))
        if old.usage_bytes or at.dirty in self._images:
            raise StorageError(volume.vid, "a volume with data is there already")
        self._images[at.committed] = old.copy(volume.size_bytes)

    async def remove(self, vid: str) -> None:
        """Forget the volume."""
        at = parse_vid(_NOWHERE, vid)
        self._drop_import(at)
        for path in at.by_worth:
            self._images.pop(path, None)

    async def start(self, volume: VolumeSpec) -> BlockImage:
        """Make the working image; see `Driver.start`."""
        at = parse_vid(_NOWHERE, volume.vid)
        self._settle(at, volume)
        if volume.save_on_stop and not volume.snap_on_start:
            committed = self._images.get(at.committed)
            if committed is None:
                raise StorageError(volume.vid, "it was never created, or its file is lost")
            if not volume.rw:
                return BlockImage(path=at.committed, read_only=True)
            self._images[at.dirty] = committed.copy(volume.size_bytes)
        elif volume.snap_on_start:
            self._images[at.dirty] = self._source(volume).copy(volume.size_bytes)
        else:
            self._images[at.dirty] = MemoryImage(volume.size_bytes)
        return BlockImage(path=at.dirty, read_only=not volume.rw)

    async def stop(self, volume: VolumeSpec) -> None:
        """Commit or drop the working image."""
        self._settle(parse_vid(_NOWHERE, volume.vid), volume)

    async def import_begin(self, volume: VolumeSpec, size_bytes: int) -> Path:
        """Return a file of this process's memory to fill."""
        at = parse_vid(_NOWHERE, volume.vid)
        if not volume.save_on_stop:
            raise StorageError(volume.vid, "it keeps nothing, so nothing can be imported")
        self._drop_import(at)
        fd = os.memfd_create(at.imported.name)
        os.ftruncate(fd, size_bytes)
        self._imports[at.imported] = fd
        return Path(f"/proc/self/fd/{fd}")

    async def import_end(self, volume: VolumeSpec, *, success: bool) -> None:
        """Make what was filled the volume, or throw it away."""
        at = parse_vid(_NOWHERE, volume.vid)
        if success:
            fd = self._imports.get(at.imported)
            if fd is None:
                raise StorageError(volume.vid, "no import was begun")
            self._settle(at, volume)
            self._images[at.committed] = _load_image(fd)
        self._drop_import(at)

    async def size_bytes(self, volume: VolumeSpec) -> int:
        """Return the working image's size, else the committed one's, else the planned."""
        at = parse_vid(_NOWHERE, volume.vid)
        if at.dirty in self._images:
            return self._images[at.dirty].size_bytes
        if volume.save_on_stop and not volume.snap_on_start:
            committed = self._images.get(at.committed)
            return committed.size_bytes if committed else volume.size_bytes
        if volume.source is None:
            return volume.size_bytes
        source = self._images.get(parse_vid(_NOWHERE, volume.source).committed)
        return max(source.size_bytes if source else 0, volume.size_bytes)

    async def usage_bytes(self, vid: str) -> int:
        """Return what was written to the volume's images, in whole blocks."""
        at = parse_vid(_NOWHERE, vid)
        return sum(self._images[p].usage_bytes for p in at.by_worth if p in self._images)

    async def vids(self) -> Sequence[str]:
        """List the volumes that have an image or an import."""
        paths = {*self._images, *self._imports}
        return sorted({_vid_of(path) for path in paths})

    async def usage(self) -> Usage | None:
        """Return an invented size, and what all images take."""
        used = sum(image.usage_bytes for image in self._images.values())
        return Usage(size_bytes=_POOL_BYTES, usage_bytes=used)

    def _source(self, volume: VolumeSpec) -> MemoryImage:
        if volume.source is None:
            raise StorageError(volume.vid, "it is a snapshot, and has no source")
        source = self._images.get(parse_vid(_NOWHERE, volume.source).committed)
        if source is None:
            raise StorageError(volume.vid, f"its source {volume.source} is not in this pool")
        return source

    def _settle(self, at: VolumeFiles, volume: VolumeSpec) -> None:
        dirty = self._images.pop(at.dirty, None)
        if dirty is not None and volume.save_on_stop:
            self._images[at.committed] = dirty

    def _drop_import(self, at: VolumeFiles) -> None:
        fd = self._imports.pop(at.imported, None)
        if fd is not None:
            os.close(fd)


def _vid_of(path: Path) -> str:
    return str(path.relative_to(_NOWHERE).with_name(path.name.split(".")[0].split("-")[0]))


def _load_image(fd: int) -> MemoryImage:
    size_bytes = os.fstat(fd).st_size
    image = MemoryImage(size_bytes)
    for start, end in data_extents(fd, size_bytes):
        image.write(start, os.pread(fd, end - start, start))
    return image


def open_memory(_options: Mapping[str, str]) -> MemoryDriver:
    """Make the `memory` driver."""
    return MemoryDriver()
