"""The `qcow2` driver: a volume is a chain of image files, on any file system that has hard links.

A start makes a small overlay on what is committed; a stop makes that the committed content; a
clone, a revert and a snapshot name what is there already. None of it copies anything, however large
the volume is. What the files are is in `qcow2_layout.py`; what becomes of them after a crash, in
`qcow2_volumes.py`.

`revisions_to_keep` -1 is as 0 here: a guest never runs on what is committed.

Calls on different volumes run in parallel; those on one volume the caller's lane puts in order.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from ..host.threads import Threads
from . import qcow2_place
from .driver import BlockImage, Capabilities, Revision, Usage, VolumeSpec
from .layout import make_vid
from .options import parse_directory
from .qcow2_contents import Contents
from .qcow2_figures import Figures
from .qcow2_layers import Layers
from .qcow2_volumes import Volumes

CAPABILITIES: Final = Capabilities(cheap_snapshots=True, keeps_records=True)

T = TypeVar("T")

_THREADS: Final = 8
# What copies gets threads of its own: it may take long, and no start should wait for it.
_EXPORT_THREADS: Final = 4
_MERGE_THREADS: Final = 1


class Qcow2Driver:
    """A pool of layers and overlays in a directory."""

    capabilities = CAPABILITIES

    def __init__(self, dir_path: Path) -> None:
        self._dir_path = dir_path
        self._layers = Layers(dir_path)
        self._volumes = Volumes(dir_path, self._layers)
        self._contents = Contents(dir_path, self._layers, self._volumes)
        self._figures = Figures(dir_path, self._layers)
        self._threads = Threads("storage", _THREADS)
        self._exports = Threads("storage-export", _EXPORT_THREADS)
        self._merges = Threads("storage-merge", _MERGE_THREADS)
        self._tidied: set[str] = set()

    @property
    def place(self) -> Path | None:
        """Return the pool's directory."""
        return self._dir_path

    async def setup(self) -> None:
        """Make the directories and the mark, and read what is there."""
        await self._threads.run(qcow2_place.setup, self._dir_path, self._layers)

    async def open(self) -> None:
        """Read what is there, and sweep away what a crash left half made."""
        await self._threads.run(qcow2_place.open_, self._dir_path, self._layers)

    async def _change(self, threads: Threads, act: Callable[..., T], *args: object) -> T:
        """Do something to a volume, if the pool is where it was: it may be unmounted."""

        def do() -> T:
            qcow2_place.check(self._dir_path)
            return act(*args)

        return await threads.run(do)

    async def teardown(self) -> None:
        """Remove the directories, if nothing is in them."""
        await self._threads.run(qcow2_place.teardown, self._dir_path, self._layers)

    async def close(self) -> None:
        """Let go of the threads. A merge that is under way ends in the background."""
        for threads in (self._threads, self._exports, self._merges):
            threads.close()

    def vid(self, name: str, volume: str, *, template: bool) -> str:
        """Return `appvms/NAME/VOLUME` or `vm-templates/NAME/VOLUME`."""
        return make_vid(name, volume, template=template)

    async def create(self, volume: VolumeSpec) -> None:
        """Make the pointer, if the volume is saved; see `Driver.create`."""
        await self._change(self._threads, self._volumes.create, volume)

    async def remove(self, vid: str) -> None:
        """Remove the volume's files, and its qube's directory once that is empty."""
        await self._change(self._threads, self._remove, vid)

    def _remove(self, vid: str) -> None:
        self._contents.forget(vid)
        self._volumes.remove(vid)

    async def start(self, volume: VolumeSpec) -> BlockImage:
        """Make an overlay, or an empty file; see `Driver.start`."""
        return await self._change(self._threads, self._volumes.start, volume)

    async def stop(self, volume: VolumeSpec) -> None:
        """Commit or drop the overlay; see `Driver.stop`."""
        await self._change(self._threads, self._volumes.stop, volume)

    async def resize(self, volume: VolumeSpec, size_bytes: int, *, running: bool) -> None:
        """Note the new size. QEMU itself grows the overlay that a guest runs on."""
        if not running:
            await self._change(self._threads, self._volumes.resize, volume, size_bytes)

    async def tidy(self, volume: VolumeSpec) -> None:
        """Merge the volume's layers if they are many; one volume at a time.

        One that is waiting or under way is enough. A merge that is cancelled goes on by itself.
        """
        if volume.vid in self._tidied:
            return
        self._tidied.add(volume.vid)
        try:
            await self._merges.run(self._volumes.tidy, volume)
        finally:
            self._tidied.discard(volume.vid)

    async def revisions(self, vid: str) -> Sequence[Revision]:
        """List the revisions, by number."""
        return await self._threads.run(self._contents.revisions, vid)

    async def snapshot(self, volume: VolumeSpec) -> Revision:
        """Name the committed layer as a revision, too."""
        return await self._change(self._threads, self._contents.snapshot, volume)

    async def revert(self, volume: VolumeSpec, revision: str) -> None:
        """Name a revision's layer as the committed one."""
        await self._change(self._threads, self._contents.revert, volume, revision)

    async def import_begin(self, volume: VolumeSpec, size_bytes: int) -> Path:
        """Make a sparse file; see `Driver.import_begin`. A leftover one is replaced."""
        return await self._change(self._threads, self._contents.import_begin, volume, size_bytes)

    async def clone(self, volume: VolumeSpec, source: VolumeSpec) -> None:
        """Keep the source's layer for the end of the import; nothing is copied."""
        await self._change(self._threads, self._contents.clone, volume, source)

    async def import_end(self, volume: VolumeSpec, *, success: bool) -> None:
        """Switch to the new layer, or drop it; see `Driver.import_end`."""
        await self._change(self._threads, self._contents.import_end, volume, success)

    async def export_begin(self, volume: VolumeSpec) -> Path:
        """Return the layer if it is raw and of the volume's size, else a copy that is."""
        return await self._change(self._exports, self._contents.export_begin, volume)

    async def export_end(self, volume: VolumeSpec) -> None:
        """Remove the copy."""
        await self._exports.run(self._contents.export_end, volume)

    def path(self, volume: VolumeSpec) -> Path:
        """Return the overlay's path, or which it would be if the qube started now."""
        return self._figures.path(volume)

    async def size_bytes(self, volume: VolumeSpec) -> int:
        """Return the size of the overlay, else of what is committed, else the planned."""
        return await self._threads.run(self._figures.size_bytes, volume)

    async def usage_bytes(self, vid: str) -> int:
        """Return what the volume's files and layers take. Shared layers count in each volume."""
        return await self._threads.run(self._figures.usage_bytes, vid)

    async def is_outdated(self, volume: VolumeSpec) -> bool:
        """Say whether the overlay is on another layer than the source's."""
        return await self._threads.run(self._figures.is_outdated, volume)

    async def vids(self) -> Sequence[str]:
        """List the volumes that have any file."""
        return await self._threads.run(self._figures.vids)

    async def usage(self) -> Usage | None:
        """Return the file system's size, and what is taken of it."""
        return await self._threads.run(self._figures.usage)

    async def keep_record(self, vid: str, record: bytes) -> None:
        """Keep the bytes in a file beside the volume's."""
        await self._threads.run(self._figures.keep_record, vid, record)

    async def records(self) -> Mapping[str, bytes]:
        """Read what was kept."""
        return await self._threads.run(self._figures.records)


def open_qcow2(options: Mapping[str, str]) -> Qcow2Driver:
    """Make the `qcow2` driver."""
    return Qcow2Driver(parse_directory(options["dir_path"]))
