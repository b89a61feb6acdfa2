"""The `memory` driver: a pool for tests, gone with the process.

The path in a `BlockImage` of it is only a name: no file is there. Who plays the guest reads and
writes through `MemoryDriver.image(path)`. The path of `import_begin` can be opened and written, by
this process alone (it is a memfd).
"""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from ..errors import StorageError
from ..host.files import data_extents
from .driver import BlockImage, Capabilities, Revision, Usage, VolumeSpec
from .layout import VolumeFiles, make_vid, parse_vid

CAPABILITIES: Final = Capabilities(cheap_snapshots=True, keeps_records=True)

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

    def store(self, fd: int) -> None:
        """Write it to a file, sparse."""
        os.ftruncate(fd, self.size_bytes)
        for index, block in self._blocks.items():
            start = index * _BLOCK
            os.pwrite(fd, block[: self.size_bytes - start], start)


class MemoryDriver:
    """A pool in memory. Nothing blocks, so nothing runs in threads."""

    capabilities = CAPABILITIES

    def __init__(self) -> None:
        self._images: dict[Path, MemoryImage] = {}
        self._imports: dict[Path, int | MemoryImage] = {}
        self._exports: dict[Path, int] = {}
        self._kept: dict[Path, list[tuple[Revision, MemoryImage]]] = {}
        self._began_as: dict[Path, MemoryImage] = {}
        self._records: dict[str, bytes] = {}

    def image(self, path: Path) -> MemoryImage:
        """Return what `start` gave as this path, to read and write as a guest would."""
        return self._images[path]

    @property
    def place(self) -> None:
        """Return nothing: it has no directory."""

    async def setup(self) -> None:
        """Do nothing."""

    async def open(self) -> None:
        """Do nothing."""

    async def teardown(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""

    def vid(self, name: str, volume: str, *, template: bool) -> str:
        """Return `appvms/NAME/VOLUME` or `vm-templates/NAME/VOLUME`."""
        return make_vid(name, volume, template=template)

    async def create(self, volume: VolumeSpec) -> None:
        """Make an empty image, if the volume is saved; refuse to take over data."""
        at = _at(volume.vid)
        if not volume.save_on_stop:
            return
        old = self._images.get(at.committed, MemoryImage(0))
        if old.usage_bytes or at.dirty in self._images or self._kept.get(at.committed):
            raise StorageError(volume.vid, "a volume with data is there already")
        self._images[at.committed] = old.copy(volume.size_bytes)

    async def remove(self, vid: str) -> None:
        """Forget the volume."""
        at = _at(vid)
        self._drop_import(at)
        for path in at.by_worth:
            self._images.pop(path, None)
        self._kept.pop(at.committed, None)
        self._began_as.pop(at.dirty, None)
        self._records.pop(vid, None)

    async def start(self, volume: VolumeSpec) -> BlockImage:
        """Make the working image; see `Driver.start`."""
        at = _at(volume.vid)
        self._settle(at, volume)
        if volume.save_on_stop and not volume.snap_on_start:
            committed = self._committed(at, volume)
            if not volume.rw:
                return BlockImage(path=at.committed, read_only=True)
            if volume.revisions_to_keep < 0:
                self._images[at.committed] = committed.copy(volume.size_bytes)
                return BlockImage(path=at.committed)
            self._images[at.dirty] = committed.copy(volume.size_bytes)
        elif volume.snap_on_start:
            self._began_as[at.dirty] = self._source(volume)
            self._images[at.dirty] = self._source(volume).copy(volume.size_bytes)
        else:
            self._images[at.dirty] = MemoryImage(volume.size_bytes)
        return BlockImage(path=at.dirty, read_only=not volume.rw)

    async def stop(self, volume: VolumeSpec) -> None:
        """Commit or drop the working image."""
        self._settle(_at(volume.vid), volume)

    async def resize(self, volume: VolumeSpec, size_bytes: int, *, running: bool) -> None:
        """Grow the committed image, or what a guest runs on."""
        at = _at(volume.vid)
        if not running:
            self._settle(at, volume)
            if not volume.save_on_stop:
                return
        where = at.dirty if running and at.dirty in self._images else at.committed
        if where in self._images:
            self._images[where] = self._images[where].copy(size_bytes)
        elif not running:
            self._committed(at, volume)

    async def tidy(self, volume: VolumeSpec) -> None:
        """Do nothing."""

    async def revisions(self, vid: str) -> Sequence[Revision]:
        """List the revisions."""
        return [revision for revision, _ in self._kept.get(_at(vid).committed, ())]

    async def snapshot(self, volume: VolumeSpec) -> Revision:
        """Keep the committed image."""
        at = _at(volume.vid)
        _require_saved(volume)
        self._committed(at, volume)
        return self._keep(at)

    async def revert(self, volume: VolumeSpec, revision: str) -> None:
        """Commit a kept image again."""
        at = _at(volume.vid)
        self._settle(at, volume)
        for kept, image in self._kept.get(at.committed, ()):
            if kept.id == revision:
                self._commit(at, image, volume.revisions_to_keep)
                return
        raise StorageError(volume.vid, f"it has no revision {revision}")

    async def import_begin(self, volume: VolumeSpec, size_bytes: int) -> Path:
        """Return a file of this process's memory to fill."""
        at = _at(volume.vid)
        _require_saved(volume)
        self._drop_import(at)
        fd = os.memfd_create(at.imported.name)
        os.ftruncate(fd, size_bytes)
        self._imports[at.imported] = fd
        return Path(f"/proc/self/fd/{fd}")

    async def clone(self, volume: VolumeSpec, source: VolumeSpec) -> None:
        """Take a copy of another volume's image for the import."""
        at = _at(volume.vid)
        _require_saved(volume)
        image = self._committed(_at(source.vid), source).copy(0)
        self._drop_import(at)
        self._imports[at.imported] = image

    async def import_end(self, volume: VolumeSpec, *, success: bool) -> None:
        """Make what was filled the volume, or throw it away."""
        at = _at(volume.vid)
        if success:
            side = self._imports.get(at.imported)
            if side is None:
                raise StorageError(volume.vid, "no import was begun")
            self._settle(at, volume)
            image = _load_image(side) if isinstance(side, int) else side
            self._commit(at, image, volume.revisions_to_keep)
        self._drop_import(at)

    async def export_begin(self, volume: VolumeSpec) -> Path:
        """Return a file of this process's memory with the content."""
        at = _at(volume.vid)
        _require_saved(volume)
        image = self._committed(at, volume)
        await self.export_end(volume)
        self._exports[at.committed] = fd = os.memfd_create(at.committed.name)
        image.store(fd)
        return Path(f"/proc/self/fd/{fd}")

    async def export_end(self, volume: VolumeSpec) -> None:
        """Close the file."""
        fd = self._exports.pop(_at(volume.vid).committed, None)
        if fd is not None:
            os.close(fd)

    def path(self, volume: VolumeSpec) -> Path:
        """Return the name of the image that a guest runs on."""
        at = _at(volume.vid)
        return at.committed if volume.is_used_itself else at.dirty

    async def size_bytes(self, volume: VolumeSpec) -> int:
        """Return the working image's size, else the committed one's, else the planned."""
        at = _at(volume.vid)
        if at.dirty in self._images:
            return self._images[at.dirty].size_bytes
        if volume.save_on_stop and not volume.snap_on_start:
            committed = self._images.get(at.committed)
            return committed.size_bytes if committed else volume.size_bytes
        if volume.source is None:
            return volume.size_bytes
        source = self._images.get(_at(volume.source).committed)
        return max(source.size_bytes if source else 0, volume.size_bytes)

    async def usage_bytes(self, vid: str) -> int:
        """Return what was written to the volume's images, in whole blocks."""
        at = _at(vid)
        images = [self._images[path] for path in at.by_worth if path in self._images]
        images += [image for _, image in self._kept.get(at.committed, ())]
        return sum({id(image): image.usage_bytes for image in images}.values())

    async def is_outdated(self, volume: VolumeSpec) -> bool:
        """Say whether the source's image is another one now."""
        began_as = self._began_as.get(_at(volume.vid).dirty)
        return began_as is not None and began_as is not self._source(volume)

    async def vids(self) -> Sequence[str]:
        """List the volumes that have an image or an import."""
        paths = {*self._images, *self._imports, *(path for path in self._kept if self._kept[path])}
        return sorted({_vid_of(path) for path in paths})

    async def usage(self) -> Usage | None:
        """Return an invented size, and what all images take."""
        used = sum(image.usage_bytes for image in self._images.values())
        return Usage(size_bytes=_POOL_BYTES, usage_bytes=used)

    async def keep_record(self, vid: str, record: bytes) -> None:
        """Keep the bytes."""
        self._records[vid] = record

    async def records(self) -> Mapping[str, bytes]:
        """Return what was kept."""
        return dict(self._records)

    def _committed(self, at: VolumeFiles, volume: VolumeSpec) -> MemoryImage:
        committed = self._images.get(at.committed)
        if committed is None:
            raise StorageError(volume.vid, "it was never created, or its file is lost")
        return committed

    def _source(self, volume: VolumeSpec) -> MemoryImage:
        if volume.source is None:
            raise StorageError(volume.vid, "it is a snapshot, and has no source")
        source = self._images.get(_at(volume.source).committed)
        if source is None:
            raise StorageError(volume.vid, f"its source {volume.source} is not in this pool")
        return source

    def _settle(self, at: VolumeFiles, volume: VolumeSpec) -> None:
        self._began_as.pop(at.dirty, None)
        dirty = self._images.pop(at.dirty, None)
        if dirty is not None and volume.save_on_stop:
            self._commit(at, dirty, volume.revisions_to_keep)

    def _commit(self, at: VolumeFiles, image: MemoryImage, revisions_to_keep: int) -> None:
        kept = self._kept.setdefault(at.committed, [])
        old = self._images.get(at.committed)
        if revisions_to_keep > 0 and old is not None and not (kept and kept[-1][1] is old):
            self._keep(at)
        self._images[at.committed] = image
        del kept[: max(0, len(kept) - max(0, revisions_to_keep))]

    def _keep(self, at: VolumeFiles) -> Revision:
        kept = self._kept.setdefault(at.committed, [])
        revision = Revision(id=str(int(kept[-1][0].id) + 1 if kept else 1), time_s=time.time())
        kept.append((revision, self._images[at.committed]))
        return revision

    def _drop_import(self, at: VolumeFiles) -> None:
        side = self._imports.pop(at.imported, None)
        if isinstance(side, int):
            os.close(side)


def _at(vid: str) -> VolumeFiles:
    return parse_vid(_NOWHERE, vid)


def _require_saved(volume: VolumeSpec) -> None:
    if not volume.save_on_stop:
        raise StorageError(volume.vid, "it keeps nothing")


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
