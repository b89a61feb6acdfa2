"""What a storage driver does: the contract that every driver's tests hold it to.

A driver keeps volumes, named by `vid` (unique in its pool). It is told all it must know in a
`VolumeSpec`; it knows nothing of qubes, policy or the store. Blocking work runs in threads
(`host/`), never on the event loop. Errors are `StorageError`, with what failed and why.

The four kinds of volume (ADMIN-API §5.1):

| save_on_stop | snap_on_start | kind            | while started           | at stop             |
|--------------|---------------|-----------------|-------------------------|---------------------|
| no           | no            | volatile        | fresh and empty         | thrown away         |
| no           | yes           | snapshot        | a copy of its source    | thrown away         |
| yes          | no            | origin          | a copy of itself        | becomes the volume  |
| yes          | yes           | origin-snapshot | a copy of its source    | becomes the volume  |

A volume that a qube runs on is never the committed one: what was committed at the last stop stays
readable (for clones, backups and reverts) until the next clean stop replaces it in one switch.
The exception is an origin with `revisions_to_keep` -1, whose guest may write to it directly.

To commit is to replace the volume's content: at a stop, at the end of an import, by a revert. Each
commit keeps the content before it as a revision, if `revisions_to_keep` is above 0, and then drops
the oldest revisions beyond that number. Nothing else drops revisions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a driver can do, so that nobody needs to ask which driver it is.

    A pool's own are known after its `setup` or `open`: the file system has a say.

    `cheap_snapshots`: a start and a clone copy nothing. `most_revisions`: how many revisions a
    volume may keep, None for any number. `read_only`: nothing can be created, imported or changed.
    `keeps_records`: `keep_record` works.
    """

    cheap_snapshots: bool
    most_revisions: int | None = None
    read_only: bool = False
    keeps_records: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeSpec:
    """One volume. `source` is the vid, in the same pool, that a snapshot copies.

    `revisions_to_keep` -1: no snapshot is ever taken of it, not even while a guest runs.
    `ephemeral`: a volatile volume that is encrypted with a key that nobody keeps.
    """

    vid: str
    size_bytes: int
    rw: bool = True
    source: str | None = None
    save_on_stop: bool = False
    snap_on_start: bool = False
    revisions_to_keep: int = 0
    ephemeral: bool = False

    @property
    def is_used_itself(self) -> bool:
        """Say whether a guest runs on what is committed, in drivers that have no layers."""
        is_origin = self.save_on_stop and not self.snap_on_start
        return is_origin and (not self.rw or self.revisions_to_keep < 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockImage:
    """What a guest is given: an absolute path of the host, and the image format there.

    `format` is one of QEMU's: `raw`, `qcow2`, or `luks` with its `key`, which is to be forgotten
    once the guest has started.
    """

    path: Path
    format: str = "raw"
    read_only: bool = False
    key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """An older content of a volume: its id (`[A-Za-z0-9:_.-]+`), and when it was committed.

    `time_s` is seconds since 1970; None where the driver can't tell.
    """

    id: str
    time_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Sizes in bytes: of the whole pool, and how much of it is used.

    `metadata_*` are those of a place apart from the data's, where there is one (LVM).
    """

    size_bytes: int
    usage_bytes: int
    metadata_size_bytes: int | None = None
    metadata_usage_bytes: int | None = None


class Driver(Protocol):
    """One pool. Every method may be repeated, and undoes nothing but what it names.

    Calls on different volumes may run at the same time; those on one volume the caller puts in
    order, but for `size_bytes`, `usage_bytes`, `revisions`, `is_outdated` and `export_*`.
    """

    capabilities: Capabilities

    @property
    def place(self) -> Path | None:
        """Return the directory that no other pool may have; None if there is none.

        It need not be there yet.
        """

    # The pool.

    async def setup(self) -> None:
        """Make a new pool's place (directories, checks), and be ready.

        Raises `StorageError` if it can't be. Made before: no error, and nothing is lost.
        """

    async def open(self) -> None:
        """Be ready to serve a pool that was set up before; make nothing.

        Raises `StorageError` if its place is missing, unreadable, or not the place it was (its file
        system isn't mounted). It may be tried again later.
        """

    async def teardown(self) -> None:
        """Undo `setup` as far as nothing else is there: no data is ever lost by it."""

    async def close(self) -> None:
        """Let go of threads and what else is held; no other call follows."""

    def vid(self, name: str, volume: str, *, template: bool) -> str:
        """Return the id of a volume of the qube `name`; nothing is made."""

    # A volume's life.

    async def create(self, volume: VolumeSpec) -> None:
        """Make the volume, empty and sparse. Nothing to do for volatile and snapshot volumes.

        Raises `StorageError` if there is data under this vid: a new qube never gets an old one's.
        """

    async def remove(self, vid: str) -> None:
        """Remove the volume with its revisions and working files. No error if it isn't there.

        What other volumes were cloned from it, or run on it, stays whole.
        """

    async def start(self, volume: VolumeSpec) -> BlockImage:
        """Make the volume usable by a guest (the table above), and return where it is.

        For when no guest runs on it. What a guest wrote to a saved volume before a crash is
        committed first. Raises `StorageError` if the volume or its source isn't there.
        """

    async def stop(self, volume: VolumeSpec) -> None:
        """End the guest's use: commit what is saved, throw away what is not.

        Atomic: after a crash the committed volume is the old one or the new one, whole. No
        error if the volume was not started.
        """

    async def resize(self, volume: VolumeSpec, size_bytes: int, *, running: bool) -> None:
        """Let the volume have at least this size; the new end reads as zeros. Never shrinks.

        With `running`, a guest is on it: make room for what the hypervisor then does to the guest's
        image (nothing, where that is a file). Else grow the committed content, if there is any.
        """

    async def tidy(self, volume: VolumeSpec) -> None:
        """Do what a stop left for later, so that it could be quick: merging, say.

        Needs no lane, may take long, may be cancelled or never called, and changes no content.
        """

    # Older contents.

    async def revisions(self, vid: str) -> Sequence[Revision]:
        """List the volume's revisions, oldest first."""

    async def snapshot(self, volume: VolumeSpec) -> Revision:
        """Keep the committed content as a revision, durably, and return that."""

    async def revert(self, volume: VolumeSpec, revision: str) -> None:
        """Commit a revision's content as the volume's. For when no guest runs on it.

        Raises `StorageError` if there is no such revision. The revision stays one.
        """

    # New contents.

    async def import_begin(self, volume: VolumeSpec, size_bytes: int) -> Path:
        """Return a file or block device of this size, which reads as zeros, for the caller to fill.

        The volume is untouched so far. What an earlier import left is replaced. Raises
        `StorageError` for a volume that is not saved.
        """

    async def clone(self, volume: VolumeSpec, source: VolumeSpec) -> None:
        """Do `import_begin` and fill it with the committed content of another volume of the pool.

        By the cheapest copy there is. Raises `StorageError` if the source isn't there.
        """

    async def import_end(self, volume: VolumeSpec, *, success: bool) -> None:
        """Commit what was filled, in one durable switch; or throw it away.

        Raises `StorageError` for a success of what was not begun (or has been ended).
        """

    async def export_begin(self, volume: VolumeSpec) -> Path:
        """Return a path where the committed content can be read as raw data, until `export_end`."""

    async def export_end(self, volume: VolumeSpec) -> None:
        """End an export: what was made for it goes away. No error if none was begun."""

    # What is known.

    def path(self, volume: VolumeSpec) -> Path:
        """Return where a guest's image is or would be; for people and clients to look at."""

    async def size_bytes(self, volume: VolumeSpec) -> int:
        """Return the volume's size as a guest sees it."""

    async def usage_bytes(self, vid: str) -> int:
        """Return how much the volume takes on disk, with its revisions and working files.

        Space shared with other volumes counts; space shared within the volume counts once.
        """

    async def is_outdated(self, volume: VolumeSpec) -> bool:
        """Say whether a started snapshot's source has been committed since it started."""

    async def vids(self) -> Sequence[str]:
        """List the volumes that have anything in the pool."""

    async def usage(self) -> Usage | None:
        """Return the pool's size and usage, or None where it has none."""

    # For who has lost the store.

    async def keep_record(self, vid: str, record: bytes) -> None:
        """Keep some bytes beside the volume, which go with it; replaced whole, durably.

        Only with `capabilities.keeps_records`, and for volumes that exist.
        """

    async def records(self) -> Mapping[str, bytes]:
        """Return what was kept, by vid."""


DriverFactory = Callable[[Mapping[str, str]], Driver]
