"""The `zfs` driver: a volume is ZFS volumes with snapshots and clones, in a dataset of the host's.

A start makes a snapshot or a clone: the same short time for a volume of any size, and no space
until the guest writes. The container is the administrator's: this neither makes nor removes it.
Sizes are whole blocks of 128 KiB.

Calls on different volumes run in parallel; those on one volume the caller's lane puts in order.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from ..errors import StorageError
from ..host import process
from ..host.threads import Threads
from .driver import BlockImage, Capabilities, Revision, Usage, VolumeSpec
from .host_tools import Run
from .options import parse_boolean
from .zfs_commands import Zfs
from .zfs_device import await_name
from .zfs_names import make_vid, parse_container
from .zfs_volumes import AwaitDevice, ZfsVolumes

CAPABILITIES: Final = Capabilities(cheap_snapshots=True)

_THREADS: Final = 8
_DEVICES: Final = Path("/dev/zvol")


class ZfsDriver:
    """A container. `run` runs ZFS's commands; `devices` is where device nodes appear.

    `snap_on_start_forensics` keeps what a guest left of a snapshot until its next start.
    """

    capabilities = CAPABILITIES

    def __init__(
        self,
        container: str,
        *,
        snap_on_start_forensics: bool = False,
        run: Run = process.run,
        devices: Path = _DEVICES,
        await_device: AwaitDevice = await_name,
    ) -> None:
        self._container = container
        self._volumes = ZfsVolumes(
            Zfs(container, run), devices, await_device, keeps_work=snap_on_start_forensics
        )
        self._threads = Threads("storage", _THREADS)

    @property
    def place(self) -> None:
        """Return nothing: it has no directory."""

    async def setup(self) -> None:
        """Check that the container is there; see `Driver.setup`."""
        await self._threads.run(self._volumes.usage)

    async def open(self) -> None:
        """Check that the container is there; see `Driver.open`."""
        await self._threads.run(self._volumes.usage)

    async def teardown(self) -> None:
        """Do nothing: setup made nothing."""

    async def close(self) -> None:
        """Let go of the threads."""
        self._threads.close()

    def vid(self, name: str, volume: str, *, template: bool) -> str:
        """Return `CONTAINER/NAME/VOLUME`."""
        return make_vid(self._container, name, volume)

    async def create(self, volume: VolumeSpec) -> None:
        """Make the volume, if it is saved; see `Driver.create`."""
        await self._threads.run(self._volumes.create, volume)

    async def remove(self, vid: str) -> None:
        """Remove the volume's datasets. One that is in use makes it fail."""
        await self._threads.run(self._volumes.remove, vid)

    async def start(self, volume: VolumeSpec) -> BlockImage:
        """Make a snapshot or a clone; see `Driver.start`."""
        return await self._threads.run(self._volumes.start, volume)

    async def stop(self, volume: VolumeSpec) -> None:
        """Commit or drop what the guest ran on; see `Driver.stop`."""
        await self._threads.run(self._volumes.stop, volume)

    async def resize(self, volume: VolumeSpec, size_bytes: int, *, running: bool) -> None:
        """Grow the device that a guest runs on, or the volume."""
        await self._threads.run(self._volumes.resize, volume, size_bytes, running=running)

    async def tidy(self, volume: VolumeSpec) -> None:
        """Do nothing: a stop leaves nothing for later."""

    async def revisions(self, vid: str) -> Sequence[Revision]:
        """List the revisions; their times are when a guest started to write something else."""
        return await self._threads.run(self._volumes.revisions, vid)

    async def snapshot(self, volume: VolumeSpec) -> Revision:
        """Make a revision: a snapshot of what is committed."""
        return await self._threads.run(self._volumes.snapshot, volume)

    async def revert(self, volume: VolumeSpec, revision: str) -> None:
        """Commit a clone of a revision."""
        await self._threads.run(self._volumes.revert, volume, revision)

    async def import_begin(self, volume: VolumeSpec, size_bytes: int) -> Path:
        """Return the device of a new ZFS volume; see `Driver.import_begin`."""
        return await self._threads.run(self._volumes.import_begin, volume, size_bytes)

    async def clone(self, volume: VolumeSpec, source: VolumeSpec) -> None:
        """Make a clone of another volume; see `Driver.clone`."""
        await self._threads.run(self._volumes.clone, volume, source)

    async def import_end(self, volume: VolumeSpec, *, success: bool) -> None:
        """Commit what was filled, or drop it; see `Driver.import_end`."""
        await self._threads.run(self._volumes.import_end, volume, success=success)

    async def export_begin(self, volume: VolumeSpec) -> Path:
        """Return the device of a clone of what is committed; one for all who ask meanwhile."""
        return await self._threads.run(self._volumes.export_begin, volume)

    async def export_end(self, volume: VolumeSpec) -> None:
        """Remove the clone with the last export."""
        await self._threads.run(self._volumes.export_end, volume)

    def path(self, volume: VolumeSpec) -> Path:
        """Return the path of the device that a guest runs on."""
        return self._volumes.path(volume)

    async def size_bytes(self, volume: VolumeSpec) -> int:
        """Return the size of what a guest runs on, else of the volume, else the planned."""
        return await self._threads.run(self._volumes.size_bytes, volume)

    async def usage_bytes(self, vid: str) -> int:
        """Return what the volume takes, with what it shares with other volumes."""
        return await self._threads.run(self._volumes.usage_bytes, vid)

    async def is_outdated(self, volume: VolumeSpec) -> bool:
        """Say whether the snapshot was cloned from what is no longer committed."""
        return await self._threads.run(self._volumes.is_outdated, volume)

    async def vids(self) -> Sequence[str]:
        """List the volumes that have any dataset in the container."""
        return await self._threads.run(self._volumes.vids)

    async def usage(self) -> Usage | None:
        """Return what the container takes, and could take."""
        return await self._threads.run(self._volumes.usage)

    async def keep_record(self, vid: str, record: bytes) -> None:
        """Refuse: `capabilities.keeps_records` is false."""
        raise StorageError(vid, "a container keeps no records")

    async def records(self) -> Mapping[str, bytes]:
        """Return nothing: nothing is kept."""
        return {}


def open_zfs(options: Mapping[str, str]) -> ZfsDriver:
    """Make the `zfs` driver."""
    return ZfsDriver(
        parse_container(options["container"]),
        snap_on_start_forensics=parse_boolean(options.get("snap_on_start_forensics", "False")),
    )
