"""The file drivers: a volume is raw image files in a directory.

`file` copies them, on any file system: correct, but each start of a qube takes time and space in
proportion to the data of its volumes (holes stay holes). `file-reflink` (`reflink.py`) is the same
driver with a clone in place of the copy. What they do to files is in `image_files.py`.

Calls on different volumes run in parallel; those on one volume the caller's lane puts in order.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from ..host import files
from ..host.threads import Threads
from .driver import BlockImage, Capabilities, Revision, Usage, VolumeSpec
from .failures import naming
from .image_files import ImageFiles
from .layout import make_vid
from .options import parse_directory
from .revisions import Copy

#: Each revision is a whole copy, so that more than one is refused, as R4's driver does.
CAPABILITIES: Final = Capabilities(cheap_snapshots=False, most_revisions=1, keeps_records=True)

_THREADS: Final = 8
T = TypeVar("T")


class FileDriver:
    """A pool of image files. `copy` makes its second path, a new file, equal to its first.

    `probe` is asked when the pool is opened whether copies are cheap in a directory; it raises
    `StorageError` if the pool can't work there. It and `copy` run in threads.
    """

    def __init__(
        self,
        dir_path: Path,
        *,
        capabilities: Capabilities = CAPABILITIES,
        copy: Copy = files.copy_sparse,
        probe: Callable[[Path], bool] = lambda _: False,
    ) -> None:
        self.capabilities = capabilities
        self._dir_path = dir_path
        self._files = ImageFiles(dir_path, copy)
        self._probe = probe
        self._threads = Threads("storage", _THREADS)

    @property
    def place(self) -> Path | None:
        """Return the pool's directory."""
        return self._dir_path

    async def setup(self) -> None:
        """Make the directories, and ask the probe."""
        await self._threads.run(self._files.setup)
        await self._ask_probe()

    async def open(self) -> None:
        """Check the directories, and ask the probe."""
        await self._threads.run(self._files.open)
        await self._ask_probe()

    async def _change(self, act: Callable[..., T], *args: object) -> T:
        """Do something to a volume, if the pool's directories are there: it may be unmounted."""

        def do() -> T:
            self._files.open()
            return act(*args)

        return await self._threads.run(do)

    async def _ask_probe(self) -> None:
        def ask() -> bool:
            with naming(f"pool directory {self._dir_path}"):
                return self._probe(self._dir_path)

        cheap = await self._threads.run(ask)
        self.capabilities = dataclasses.replace(self.capabilities, cheap_snapshots=cheap)

    async def teardown(self) -> None:
        """Remove the directories, those that are empty."""
        await self._threads.run(self._files.teardown)

    async def close(self) -> None:
        """Let go of the threads."""
        self._threads.close()

    def vid(self, name: str, volume: str, *, template: bool) -> str:
        """Return `appvms/NAME/VOLUME` or `vm-templates/NAME/VOLUME`."""
        return make_vid(name, volume, template=template)

    async def create(self, volume: VolumeSpec) -> None:
        """Make the committed file, if the volume is saved; see `Driver.create`."""
        await self._change(self._files.create, volume)

    async def remove(self, vid: str) -> None:
        """Remove the volume's files, and its qube's directory once that is empty."""
        await self._change(self._files.remove, vid)

    async def start(self, volume: VolumeSpec) -> BlockImage:
        """Make the working file; see `Driver.start`."""
        return await self._change(self._files.start, volume)

    async def stop(self, volume: VolumeSpec) -> None:
        """Commit or drop the working file; see `Driver.stop`."""
        await self._change(self._files.stop, volume)

    async def resize(self, volume: VolumeSpec, size_bytes: int, *, running: bool) -> None:
        """Grow the committed file. QEMU itself grows the file that a guest runs on."""
        if not running:
            await self._change(self._files.resize, volume, size_bytes)

    async def tidy(self, volume: VolumeSpec) -> None:
        """Do nothing: a stop leaves nothing for later."""

    async def revisions(self, vid: str) -> Sequence[Revision]:
        """List the revisions, by number."""
        return await self._threads.run(self._files.revisions, vid)

    async def snapshot(self, volume: VolumeSpec) -> Revision:
        """Add a revision: a second name for the committed file."""
        return await self._change(self._files.snapshot, volume)

    async def revert(self, volume: VolumeSpec, revision: str) -> None:
        """Switch to a revision's file."""
        await self._change(self._files.revert, volume, revision)

    async def import_begin(self, volume: VolumeSpec, size_bytes: int) -> Path:
        """Make the side file; see `Driver.import_begin`. A leftover one is replaced."""
        return await self._change(self._files.import_begin, volume, size_bytes)

    async def clone(self, volume: VolumeSpec, source: VolumeSpec) -> None:
        """Make the side file a copy of another volume; see `Driver.clone`."""
        await self._change(self._files.clone, volume, source)

    async def import_end(self, volume: VolumeSpec, *, success: bool) -> None:
        """Switch to the side file, or drop it; see `Driver.import_end`."""
        await self._change(self._files.import_end, volume, success)

    async def export_begin(self, volume: VolumeSpec) -> Path:
        """Return the committed file."""
        return await self._change(self._files.export, volume)

    async def export_end(self, volume: VolumeSpec) -> None:
        """Do nothing: nothing was made."""

    def path(self, volume: VolumeSpec) -> Path:
        """Return the path of the file that a guest runs on: the committed one, or a working one."""
        return self._files.path(volume)

    async def size_bytes(self, volume: VolumeSpec) -> int:
        """Return the size of the working file, else of the committed one, else the planned."""
        return await self._threads.run(self._files.size_bytes, volume)

    async def usage_bytes(self, vid: str) -> int:
        """Return what the volume's files take. Blocks shared with other volumes count in each."""
        return await self._threads.run(self._files.usage_bytes, vid)

    async def is_outdated(self, volume: VolumeSpec) -> bool:
        """Say whether the source's file is another one now."""
        return await self._threads.run(self._files.is_outdated, volume)

    async def vids(self) -> Sequence[str]:
        """List the volumes that have any file, working and side files included."""
        return await self._threads.run(self._files.vids)

    async def usage(self) -> Usage | None:
        """Return the file system's size, and what is taken of it."""
        return await self._threads.run(self._usage)

    def _usage(self) -> Usage:
        self._files.open()  # else an unmounted pool would show the file system beneath it
        with naming(f"pool directory {self._dir_path}"):
            size_bytes, usage_bytes = files.filesystem_bytes(self._dir_path)
        return Usage(size_bytes=size_bytes, usage_bytes=usage_bytes)

    async def keep_record(self, vid: str, record: bytes) -> None:
        """Keep the bytes in a file beside the volume's."""
        await self._threads.run(self._files.keep_record, vid, record)

    async def records(self) -> Mapping[str, bytes]:
        """Read what was kept."""
        return await self._threads.run(self._files.records)


def open_file(options: Mapping[str, str]) -> FileDriver:
    """Make the `file` driver: sparse copies on any file system; slow for large volumes."""
    return FileDriver(parse_directory(options["dir_path"]))
