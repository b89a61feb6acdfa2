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

A volume that a qube runs on is never the committed file: what was committed at the last stop stays
readable (for clones, backups and reverts) until the next clean stop replaces it in one rename.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a driver can do, so that nobody needs to ask which driver it is.

    A pool's own are known after its `setup`: the file system has a say.
    """

    cheap_snapshots: bool
    keeps_revisions: bool
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeSpec:
    """One volume. `source` is the vid, in the same pool, that a snapshot copies."""

    vid: str
    size_bytes: int
    rw: bool = True
    source: str | None = None
    save_on_stop: bool = False
    snap_on_start: bool = False
    revisions_to_keep: int = 0
    ephemeral: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockImage:
    """What a guest is given: an absolute path of the host, and the image format there."""

    path: Path
    format: str = "raw"
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Sizes in bytes: of the whole pool, and how much of it is used."""

    size_bytes: int
    usage_bytes: int


class Driver(Protocol):
    """One pool. Every method may be repeated, and undoes nothing but what it names."""

    capabilities: Capabilities

    async def setup(self) -> None:
        """Make the pool ready (directories, checks). Raises `StorageError` if it can't be."""

    async def create(self, volume: VolumeSpec) -> None:
        """Make the volume, empty and sparse. Nothing to do for volatile and snapshot volumes.

        Raises `StorageError` if there is data under this vid: a new qube never gets an old one's.
        """

    async def remove(self, vid: str) -> None:
        """Remove the volume with its revisions and working files. No error if it isn't there."""

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

    async def import_begin(self, volume: VolumeSpec, size_bytes: int) -> Path:
        """Return a file of this size that the caller fills; the volume is untouched so far.

        A file left by an earlier import is replaced. Raises `StorageError` for a volume that is
        not saved.
        """

    async def import_end(self, volume: VolumeSpec, *, success: bool) -> None:
        """Make the filled file the volume, in one durable switch; or throw it away.

        Raises `StorageError` for a success of what was not begun (or has been ended).
        """

    async def size_bytes(self, volume: VolumeSpec) -> int:
        """Return the volume's size as a guest sees it."""

    async def usage_bytes(self, vid: str) -> int:
        """Return how much the volume takes on disk."""

    async def vids(self) -> Sequence[str]:
        """List the volumes that have anything on disk."""

    async def usage(self) -> Usage | None:
        """Return the pool's size and usage, or None where it has none."""


DriverFactory = Callable[[Mapping[str, str]], Driver]
