"""The file drivers: a volume is raw image files in a directory.

`file` copies them, on any file system: correct, but each start of a qube takes time and space in
proportion to the data of its volumes (holes stay holes). `file-reflink` (`reflink.py`) is the same
driver with a clone in place of the copy.

What a crash leaves, and what becomes of it:

- `-dirty.img` of a saved volume has all that its guest wrote; like a disk after a power cut, it is
  whole, and the newest there is. It is never thrown away: `stop()` commits it (recovery calls that
  for guests found gone), and `start()` and `import_end()` do so first, if nobody did.
- `-dirty.img` of a volume that is not saved is thrown away by `start()` and `stop()`.
- `-dirty.img.new` and `-import.img` were not whole; they are thrown away by whoever meets them.

A guest's disk is made under another name, synced if it will be saved, and renamed, so that a
`-dirty.img` is always whole. Directories are 0711: QEMU's user passes to the files that libvirt
gives it (it changes the owner), and lists none. Files are 0600.

Calls on different volumes run in parallel; those on one volume the caller's lane puts in order.
`start`, `stop`, `import_end` and `remove` are for when no guest runs on the volume: they rename or
remove the file that it would be writing to.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from ..errors import StorageError
from ..host import files
from ..host.threads import Threads
from .driver import BlockImage, Capabilities, Usage, VolumeSpec
from .failures import naming
from .layout import VID_ROOTS, VolumeFiles, load_vids, parse_vid
from .options import parse_directory

CAPABILITIES: Final = Capabilities(cheap_snapshots=False, keeps_revisions=False)

_THREADS: Final = 8


class FileDriver:
    """A pool of image files. `copy` makes its second path, a new file, equal to its first.

    `probe` is asked at setup whether copies are cheap in a directory; it raises `StorageError`
    if the pool can't work there. It and `copy` run in threads.
    """

    def __init__(
        self,
        dir_path: Path,
        *,
        capabilities: Capabilities = CAPABILITIES,
        copy: Callable[[Path, Path], None] = files.copy_sparse,
        probe: Callable[[Path], bool] = lambda _: False,
    ) -> None:
        self.capabilities = capabilities
        self._dir_path = dir_path
        self._copy = copy
        self._probe = probe
        self._threads = Threads("storage", _THREADS)

    async def setup(self) -> None:
        """Make the directories, and ask the probe."""
        cheap = await self._threads.run(self._setup)
        self.capabilities = dataclasses.replace(self.capabilities, cheap_snapshots=cheap)

    async def create(self, volume: VolumeSpec) -> None:
        """Make the committed file, if the volume is saved; see `Driver.create`.

        Refuses to take over the data of an older volume of that name.
        """
        if volume.save_on_stop:
            await self._threads.run(self._create, volume)

    async def remove(self, vid: str) -> None:
        """Remove the volume's files, and its qube's directory once that is empty."""
        await self._threads.run(self._remove, vid)

    async def start(self, volume: VolumeSpec) -> BlockImage:
        """Make the working file; see `Driver.start`. A leftover one is dealt with as above."""
        return await self._threads.run(self._start, volume)

    async def stop(self, volume: VolumeSpec) -> None:
        """Commit or drop the working file; see `Driver.stop`."""
        await self._threads.run(self._stop, volume)

    async def import_begin(self, volume: VolumeSpec, size_bytes: int) -> Path:
        """Make the side file; see `Driver.import_begin`. A leftover one is replaced."""
        return await self._threads.run(self._import_begin, volume, size_bytes)

    async def import_end(self, volume: VolumeSpec, *, success: bool) -> None:
        """Switch to the side file, or drop it; see `Driver.import_end`."""
        await self._threads.run(self._import_end, volume, success)

    async def size_bytes(self, volume: VolumeSpec) -> int:
        """Return the size of the working file, else of the committed one, else the planned."""
        return await self._threads.run(self._size_bytes, volume)

    async def usage_bytes(self, vid: str) -> int:
        """Return what the volume's files take. Blocks shared by clones count in each."""
        return await self._threads.run(self._usage_bytes, vid)

    async def vids(self) -> Sequence[str]:
        """List the volumes that have any file, working and side files included."""
        return await self._threads.run(self._vids)

    async def usage(self) -> Usage | None:
        """Return the file system's size, and what is taken of it."""
        return await self._threads.run(self._usage)

    def _setup(self) -> bool:
        with naming(f"pool directory {self._dir_path}"):
            for root in VID_ROOTS:
                files.make_directory(self._dir_path / root)
            return self._probe(self._dir_path)

    def _create(self, volume: VolumeSpec) -> None:
        at = parse_vid(self._dir_path, volume.vid)
        with naming(volume.vid):
            files.make_directory(at.directory)
            # Repeated, it has no data yet. Data is another's: a new qube must never get it.
            if at.dirty.exists():
                raise StorageError(volume.vid, "a working file of an older volume is there")
            if not at.committed.exists():
                files.make_sparse(at.committed, volume.size_bytes)
            elif files.has_data(at.committed):
                raise StorageError(volume.vid, "a volume with data is there already")
            files.grow_file(at.committed, volume.size_bytes)
            files.sync_file(at.committed)
            files.sync_directory(at.directory)
            files.sync_directory(at.directory.parent)  # its name may be a cut-off create's

    def _remove(self, vid: str) -> None:
        at = parse_vid(self._dir_path, vid)
        with naming(vid):
            removed = [files.remove_file(path) for path in at.by_worth]
            if any(removed):
                files.sync_directory(at.directory)
            files.remove_empty_directory(at.directory)

    def _start(self, volume: VolumeSpec) -> BlockImage:
        at = parse_vid(self._dir_path, volume.vid)
        with naming(volume.vid):
            files.make_directory(at.directory)
            self._settle(at, volume)
            if volume.save_on_stop and not volume.snap_on_start:
                _require(at.committed, volume.vid, "it was never created, or its file is lost")
                if not volume.rw:
                    return BlockImage(path=at.committed, read_only=True)
                self._copy_to_dirty(at, at.committed, volume)
            elif volume.snap_on_start:
                self._copy_to_dirty(at, self._source(volume), volume)
            else:
                files.make_sparse(at.dirty, volume.size_bytes)
        return BlockImage(path=at.dirty, read_only=not volume.rw)

    def _stop(self, volume: VolumeSpec) -> None:
        at = parse_vid(self._dir_path, volume.vid)
        with naming(volume.vid):
            self._settle(at, volume)

    def _settle(self, at: VolumeFiles, volume: VolumeSpec) -> None:
        """End what came before: commit or drop the working file."""
        files.remove_file(at.dirty_new)
        if not volume.save_on_stop:
            files.remove_file(at.dirty)
        elif at.dirty.exists():
            files.take_back(at.dirty)
            files.switch_file(at.dirty, at.committed)

    def _source(self, volume: VolumeSpec) -> Path:
        if volume.source is None:
            raise StorageError(volume.vid, "it is a snapshot, and has no source")
        source = parse_vid(self._dir_path, volume.source).committed
        _require(source, volume.vid, f"its source {volume.source} is not in this pool")
        return source

    def _copy_to_dirty(self, at: VolumeFiles, source: Path, volume: VolumeSpec) -> None:
        try:
            self._copy(source, at.dirty_new)
            files.grow_file(at.dirty_new, volume.size_bytes)
            if volume.save_on_stop:
                files.switch_file(at.dirty_new, at.dirty)
            else:
                at.dirty_new.rename(at.dirty)
        except OSError:
            files.remove_file(at.dirty_new)  # it may hold the space that was missing
            raise

    def _import_begin(self, volume: VolumeSpec, size_bytes: int) -> Path:
        at = parse_vid(self._dir_path, volume.vid)
        if not volume.save_on_stop:
            raise StorageError(volume.vid, "it keeps nothing, so nothing can be imported")
        with naming(volume.vid):
            files.make_directory(at.directory)
            files.remove_file(at.imported)
            files.make_sparse(at.imported, size_bytes)
        return at.imported

    def _import_end(self, volume: VolumeSpec, success: bool) -> None:
        at = parse_vid(self._dir_path, volume.vid)
        with naming(volume.vid):
            if not success:
                files.remove_file(at.imported)
                return
            _require(at.imported, volume.vid, "no import was begun")
            self._settle(at, volume)  # else the next start would commit it over the import
            files.take_back(at.imported)
            files.switch_file(at.imported, at.committed)

    def _size_bytes(self, volume: VolumeSpec) -> int:
        at = parse_vid(self._dir_path, volume.vid)
        with naming(volume.vid):
            started = files.find_size_bytes(at.dirty)
            if started is not None:
                return started
            if volume.save_on_stop and not volume.snap_on_start:
                committed = files.find_size_bytes(at.committed)
                return volume.size_bytes if committed is None else committed
            if volume.source is None:
                return volume.size_bytes
            source = parse_vid(self._dir_path, volume.source).committed
            return max(files.find_size_bytes(source) or 0, volume.size_bytes)

    def _usage_bytes(self, vid: str) -> int:
        at = parse_vid(self._dir_path, vid)
        with naming(vid):
            return sum(files.allocated_bytes(path) for path in at.by_worth)

    def _vids(self) -> Sequence[str]:
        with naming(f"pool directory {self._dir_path}"):
            return tuple(load_vids(self._dir_path))

    def _usage(self) -> Usage:
        with naming(f"pool directory {self._dir_path}"):
            size_bytes, usage_bytes = files.filesystem_bytes(self._dir_path)
        return Usage(size_bytes=size_bytes, usage_bytes=usage_bytes)


def _require(path: Path, vid: str, why: str) -> None:
    if not path.exists():
        raise StorageError(vid, why)


def open_file(options: Mapping[str, str]) -> FileDriver:
    """Make the `file` driver: sparse copies on any file system; slow for large volumes."""
    return FileDriver(parse_directory(options["dir_path"]))
