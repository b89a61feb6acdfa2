"""The `lvm_thin` driver: a volume is thin logical volumes in a thin pool of the host's LVM.

A start is a thin snapshot: the same short time for a volume of any size, and no space until the
guest writes. The volume group and the thin pool are the administrator's: this neither makes nor
removes them. LVM gives sizes in whole extents (4 MiB where nothing else was chosen), so that a
volume may be a little larger than it was asked to be.

Calls on different volumes run in parallel, as far as LVM's own lock on the volume group lets them;
those on one volume the caller's lane puts in order.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from ..errors import StorageError
from ..host import process
from ..host.threads import Threads
from .driver import BlockImage, Capabilities, Revision, Usage, VolumeSpec
from .host_tools import Run
from .lvm_commands import ThinPool
from .lvm_names import make_vid, parse_thin_pool, parse_volume_group
from .lvm_volumes import LvmVolumes

CAPABILITIES: Final = Capabilities(cheap_snapshots=True)

_THREADS: Final = 8
_DEVICES: Final = Path("/dev")


class LvmDriver:
    """A thin pool. `run` runs LVM's commands; `devices` is where their device nodes appear."""

    capabilities = CAPABILITIES

    def __init__(
        self,
        volume_group: str,
        thin_pool: str,
        *,
        run: Run = process.run,
        devices: Path = _DEVICES,
    ) -> None:
        self._volume_group = volume_group
        self._volumes = LvmVolumes(ThinPool(volume_group, thin_pool, run), devices)
        self._threads = Threads("storage", _THREADS)

    @property
    def place(self) -> None:
        """Return nothing: it has no directory."""

    async def setup(self) -> None:
        """Check that the thin pool is there; see `Driver.setup`."""
        await self._threads.run(self._volumes.open)

    async def open(self) -> None:
        """Check that the thin pool is there; see `Driver.open`."""
        await self._threads.run(self._volumes.open)

    async def teardown(self) -> None:
        """Do nothing: setup made nothing."""

    async def close(self) -> None:
        """Let go of the threads."""
        self._threads.close()

    def vid(self, name: str, volume: str, *, template: bool) -> str:
        """Return `VG/vm-NAME-VOLUME`."""
        return make_vid(self._volume_group, name, volume)

    async def create(self, volume: VolumeSpec) -> None:
        """Make the committed content, if the volume is saved; see `Driver.create`."""
        await self._threads.run(self._volumes.create, volume)

    async def remove(self, vid: str) -> None:
        """Remove the volume's logical volumes. One that is in use makes it fail."""
        await self._threads.run(self._volumes.remove, vid)

    async def start(self, volume: VolumeSpec) -> BlockImage:
        """Make a thin snapshot; see `Driver.start`."""
        return await self._threads.run(self._volumes.start, volume)

    async def stop(self, volume: VolumeSpec) -> None:
        """Commit or drop what the guest ran on; see `Driver.stop`."""
        await self._threads.run(self._volumes.stop, volume)

    async def resize(self, volume: VolumeSpec, size_bytes: int, *, running: bool) -> None:
        """Grow the device that a guest runs on, or the committed content."""
        await self._threads.run(self._volumes.resize, volume, size_bytes, running=running)

    async def tidy(self, volume: VolumeSpec) -> None:
        """Drop what was still open when it was replaced."""
        await self._threads.run(self._volumes.tidy, volume)

    async def revisions(self, vid: str) -> Sequence[Revision]:
        """List the revisions; their times are when something else was committed."""
        return await self._threads.run(self._volumes.revisions, vid)

    async def snapshot(self, volume: VolumeSpec) -> Revision:
        """Make a revision: a thin snapshot of what is committed."""
        return await self._threads.run(self._volumes.snapshot, volume)

    async def revert(self, volume: VolumeSpec, revision: str) -> None:
        """Commit a thin snapshot of a revision."""
        await self._threads.run(self._volumes.revert, volume, revision)

    async def import_begin(self, volume: VolumeSpec, size_bytes: int) -> Path:
        """Return the device of a new logical volume; see `Driver.import_begin`."""
        return await self._threads.run(self._volumes.import_begin, volume, size_bytes)

    async def clone(self, volume: VolumeSpec, source: VolumeSpec) -> None:
        """Make a thin snapshot of another volume; see `Driver.clone`."""
        await self._threads.run(self._volumes.clone, volume, source)

    async def import_end(self, volume: VolumeSpec, *, success: bool) -> None:
        """Commit what was filled, or drop it; see `Driver.import_end`."""
        await self._threads.run(self._volumes.import_end, volume, success=success)

    async def export_begin(self, volume: VolumeSpec) -> Path:
        """Return the device of what is committed. Who has it open goes on when that changes."""
        return await self._threads.run(self._volumes.export, volume)

    async def export_end(self, volume: VolumeSpec) -> None:
        """Do nothing: nothing was made."""

    def path(self, volume: VolumeSpec) -> Path:
        """Return the path of the device that a guest runs on."""
        return self._volumes.path(volume)

    async def size_bytes(self, volume: VolumeSpec) -> int:
        """Return the size of what a guest runs on, else of what is committed, else the planned."""
        return await self._threads.run(self._volumes.size_bytes, volume)

    async def usage_bytes(self, vid: str) -> int:
        """Return what the volume certainly takes; LVM doesn't tell which blocks are shared."""
        return await self._threads.run(self._volumes.usage_bytes, vid)

    async def is_outdated(self, volume: VolumeSpec) -> bool:
        """Say whether the snapshot's origin is no longer what is committed of its source."""
        return await self._threads.run(self._volumes.is_outdated, volume)

    async def vids(self) -> Sequence[str]:
        """List the volumes that have any logical volume in the thin pool."""
        return await self._threads.run(self._volumes.vids)

    async def usage(self) -> Usage | None:
        """Return what is taken of the thin pool: of its data, and of its metadata."""
        return await self._threads.run(self._volumes.usage)

    async def keep_record(self, vid: str, record: bytes) -> None:
        """Refuse: `capabilities.keeps_records` is false."""
        raise StorageError(vid, "a thin pool keeps no records")

    async def records(self) -> Mapping[str, bytes]:
        """Return nothing: nothing is kept."""
        return {}


def open_lvm(options: Mapping[str, str]) -> LvmDriver:
    """Make the `lvm_thin` driver."""
    return LvmDriver(
        parse_volume_group(options["volume_group"]), parse_thin_pool(options["thin_pool"])
    )
