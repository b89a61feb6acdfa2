"""What the `zfs` driver does to datasets, by its calls. Blocking: for threads.

Names are in `zfs_names.py`, what a crash leaves and who puts it right in `zfs_commits.py`. A call
that changes anything holds the locks of its qube and of the one that it clones from, in one order.
"""

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from ..errors import StorageError
from . import zfs_commits as commits
from .driver import BlockImage, Revision, Usage, VolumeSpec
from .failures import naming
from .luks import make_luks, overhead_bytes
from .zfs_commands import QubeDatasets, Snapshot, Zfs
from .zfs_names import State, VolumeDatasets, find_vid, parse_vid

_NEVER_CREATED: Final = "it was never created, or its dataset is lost"

#: Waits for the device of a dataset; `zfs_device.await_name` says more.
AwaitDevice = Callable[[str, Path, str], Path]


class ZfsVolumes:
    """The volumes of one container. `devices` is where the devices of ZFS volumes appear."""

    def __init__(
        self, zfs: Zfs, devices: Path, await_device: AwaitDevice, *, keeps_work: bool = False
    ) -> None:
        self._zfs = zfs
        self._devices = devices
        self._await_device = await_device
        self._keeps_work = keeps_work
        self._locks: dict[str, threading.Lock] = {}
        self._exports: Counter[str] = Counter()

    def at(self, vid: str) -> VolumeDatasets:
        """Return a volume's names."""
        return parse_vid(self._zfs.container, vid)

    def device(self, dataset: str) -> Path:
        """Return where the device of a dataset is or would be."""
        return self._devices / dataset

    # The pool.

    def usage(self) -> Usage:
        """Return the container's usage, or raise `StorageError` if it isn't there."""
        return self._zfs.usage()

    def vids(self) -> Sequence[str]:
        """List the volumes that have any dataset."""
        vids = (find_vid(self._zfs.container, name) for name in self._zfs.names())
        return sorted({vid for vid in vids if vid is not None})

    # A volume's life.

    def create(self, volume: VolumeSpec) -> None:
        """Make the volume, if it is saved."""
        if not volume.save_on_stop:
            return
        with self._changing(volume.vid) as (at, found):
            left = set(_all_of(at, found)) - {at.committed}
            if left:
                name = min(left).rpartition("/")[2]
                raise StorageError(volume.vid, f"{name} of an older volume is there")
            if at.committed not in found:
                found.create(at.committed, volume.size_bytes, is_empty=True)
            elif not found.all[at.committed].is_empty:
                # Repeated, it has no data yet. Data is another's: a new qube must never get it.
                raise StorageError(volume.vid, "a volume with data is there already")
            found.grow(at.committed, volume.size_bytes)

    def remove(self, vid: str) -> None:
        """Remove the volume's datasets, and its qube's file system once that is empty."""
        with self._changing(vid) as (at, found):
            for name in _all_of(at, found):
                found.remove(name)
            found.remove_qube()

    def start(self, volume: VolumeSpec) -> BlockImage:
        """Make what a guest runs on, but for an origin that is used as it is."""
        source = self._source(volume)
        with self._changing(volume.vid, source) as (at, found):
            self._settle(at, found, volume)
            name, key = at.work, None
            if source is not None:
                why = f"its source {volume.source} is not in this pool"
                self._clone_committed(found, source, at.work, StorageError(volume.vid, why))
                found.grow(at.work, volume.size_bytes)
            elif volume.save_on_stop:
                name = at.committed
                self._start_origin(at, found, volume)
            else:
                found.create(at.work, volume.size_bytes + _room_bytes(volume))
        path = self._await(volume.vid, name)
        if _is_encrypted(volume):
            with naming(volume.vid):
                key = make_luks(path, volume.size_bytes)
        image_format = "raw" if key is None else "luks"
        return BlockImage(path=path, format=image_format, read_only=not volume.rw, key=key)

    def _start_origin(self, at: VolumeDatasets, found: QubeDatasets, volume: VolumeSpec) -> None:
        commits.require(found, at.committed, StorageError(volume.vid, _NEVER_CREATED))
        if not volume.rw:
            return
        found.use(at.committed)
        base = commits.find_committed(at, found)
        if volume.revisions_to_keep < 0:
            commits.drop_base(at, found)
        elif base is not None:
            found.restate(base, State.RUN)
        else:
            found.snapshot(at.committed, commits.next_epoch_s(at, found), State.RUN)
        found.grow(at.committed, volume.size_bytes)

    def stop(self, volume: VolumeSpec) -> None:
        """Commit or drop what a guest ran on."""
        with self._changing(volume.vid) as (at, found):
            if self._keeps_work and volume.snap_on_start and not volume.save_on_stop:
                return  # for who wants to look at it; the next start drops it
            self._settle(at, found, volume)
            if volume.save_on_stop and volume.revisions_to_keep < 0 and at.committed in found:
                commits.sync(volume.vid, self.device(at.committed))  # the guest ran on it
                commits.drop_base(at, found)  # made meanwhile
            found.remove_qube()

    def resize(self, volume: VolumeSpec, size_bytes: int, *, running: bool) -> None:
        """Grow what a guest runs on, or the volume."""
        with self._changing(volume.vid) as (at, found):
            if running and at.work in found:
                found.grow(at.work, size_bytes + _room_bytes(volume))
                return
            if not volume.save_on_stop:
                return  # made anew, with its size, at each start
            if not running:
                self._settle(at, found, volume)
            commits.require(found, at.committed, StorageError(volume.vid, _NEVER_CREATED))
            if found.all[at.committed].size_bytes < size_bytes:
                commits.drop_base(at, found)
                found.grow(at.committed, size_bytes)

    # Older contents, and new ones.

    def revisions(self, vid: str) -> Sequence[Revision]:
        """List the revisions."""
        at, found = self._look(vid)
        return [_revision(one) for one in commits.list_revisions(at, found)]

    def snapshot(self, volume: VolumeSpec) -> Revision:
        """Make a revision: of the volume, or of what it was when its guest started."""
        _require_saved(volume, "no revisions")
        with self._changing(volume.vid) as (at, found):
            commits.finish(at, found)
            commits.require(found, at.committed, StorageError(volume.vid, _NEVER_CREATED))
            running = commits.find_running(at, found)
            if running is not None:
                if running.state is not State.KEPT:
                    running = found.restate(running, State.KEPT)
                return _revision(running)
            epoch_s = commits.next_epoch_s(at, found)
            return _revision(found.snapshot(at.committed, epoch_s, State.BACK))

    def revert(self, volume: VolumeSpec, revision: str) -> None:
        """Make a clone of a revision the volume."""
        with self._changing(volume.vid) as (at, found):
            self._settle(at, found, volume)
            for one in commits.list_revisions(at, found):
                if str(one.epoch_s) == revision:
                    found.clone(one, at.new)
                    commits.commit_other(at, found, at.new, volume.revisions_to_keep)
                    return
        raise StorageError(volume.vid, f"it has no revision {revision}")

    def import_begin(self, volume: VolumeSpec, size_bytes: int) -> Path:
        """Make what an import fills."""
        _require_saved(volume, "nothing, so nothing can be imported")
        with self._changing(volume.vid) as (at, found):
            if at.imported in found:
                found.remove(at.imported)
            found.create(at.imported, size_bytes)
        return self._await(volume.vid, at.imported)

    def clone(self, volume: VolumeSpec, source: VolumeSpec) -> None:
        """Make what an import would fill a clone of another volume."""
        _require_saved(volume, "nothing, so nothing can be cloned to it")
        of = self.at(source.vid)
        with self._changing(volume.vid, of) as (at, found):
            if at.imported in found:
                found.remove(at.imported)
            missing = StorageError(source.vid, _NEVER_CREATED)
            self._clone_committed(found, of, at.imported, missing)

    def import_end(self, volume: VolumeSpec, *, success: bool) -> None:
        """Commit what was filled, or drop it."""
        with self._changing(volume.vid) as (at, found):
            if not success:
                if at.imported in found:
                    found.remove(at.imported)
                return
            missing = StorageError(volume.vid, "no import was begun")
            commits.require(found, at.imported, missing)
            # What a guest left is older: the next start would commit it over the import.
            self._settle(at, found, volume)
            commits.sync(volume.vid, self.device(at.imported))
            found.rename(at.imported, at.new)
            commits.commit_other(at, found, at.new, volume.revisions_to_keep)

    def export_begin(self, volume: VolumeSpec) -> Path:
        """Make a clone of what is committed, once for all who export it now."""
        _require_saved(volume, "nothing, so there is nothing to export")
        with self._changing(volume.vid) as (at, found):
            if at.exported in found and not self._exports[volume.vid]:
                found.remove(at.exported)  # of a daemon that was killed
            if at.exported not in found:
                missing = StorageError(volume.vid, _NEVER_CREATED)
                self._clone_committed(found, at, at.exported, missing)
            self._exports[volume.vid] += 1
        return self._await(volume.vid, at.exported)

    def export_end(self, volume: VolumeSpec) -> None:
        """Remove the clone with the last export."""
        with self._changing(volume.vid) as (at, found):
            left = max(0, self._exports[volume.vid] - 1)
            if not left and at.exported in found:
                found.remove(at.exported)
            self._exports[volume.vid] = left

    def _clone_committed(
        self, found: QubeDatasets, source: VolumeDatasets, name: str, missing: StorageError
    ) -> None:
        is_same = source.qube == name.rpartition("/")[0]
        of_source = found if is_same else self._zfs.scan(source.committed, source.qube)
        commits.finish(source, of_source)
        commits.require(of_source, source.committed, missing)
        found.clone(commits.take_committed(source, of_source), name)

    # What is known.

    def path(self, volume: VolumeSpec) -> Path:
        """Return where the device that a guest runs on is or would be."""
        at = self.at(volume.vid)
        is_origin = volume.save_on_stop and not volume.snap_on_start
        return self.device(at.committed if is_origin else at.work)

    def size_bytes(self, volume: VolumeSpec) -> int:
        """Return the size of what a guest runs on, else of the volume, else the planned."""
        at, found = self._look(volume.vid)
        if _is_encrypted(volume):
            return volume.size_bytes
        if at.work in found:
            return found.all[at.work].size_bytes
        if volume.save_on_stop and not volume.snap_on_start:
            return _committed_bytes(at, found) or volume.size_bytes
        if volume.source is None:
            return volume.size_bytes
        return max(_committed_bytes(*self._look(volume.source)), volume.size_bytes)

    def usage_bytes(self, vid: str) -> int:
        """Return what the volume takes: of a clone of another volume, with what it shares."""
        at, found = self._look(vid)
        names = _all_of(at, found)
        return sum(
            dataset.used_bytes[1]
            + (
                dataset.used_bytes[0]
                if dataset.origin.partition("@")[0] in {"", *names}
                else dataset.referenced_bytes
            )
            for dataset in map(found.all.__getitem__, names)
        )

    def is_outdated(self, volume: VolumeSpec) -> bool:
        """Say whether what the snapshot was cloned from is no longer what is committed."""
        if not volume.snap_on_start or volume.source is None:
            return False
        at, found = self._look(volume.vid)
        if at.work not in found:
            return False
        committed = commits.find_committed(*self._look(volume.source))
        return committed is None or found.all[at.work].origin != committed.place

    def _look(self, vid: str) -> tuple[VolumeDatasets, QubeDatasets]:
        at = self.at(vid)
        return at, self._zfs.scan(vid, at.qube)

    @contextlib.contextmanager
    def _changing(
        self, vid: str, source: VolumeDatasets | None = None
    ) -> Iterator[tuple[VolumeDatasets, QubeDatasets]]:
        """Hold the locks, and scan."""
        at = self.at(vid)
        with contextlib.ExitStack() as held:
            for qube in sorted({at.qube} | ({source.qube} if source else set())):
                held.enter_context(self._locks.setdefault(qube, threading.Lock()))
            yield at, self._zfs.scan(vid, at.qube)

    def _settle(self, at: VolumeDatasets, found: QubeDatasets, volume: VolumeSpec) -> None:
        commits.settle(at, found, volume, self.device)

    def _await(self, vid: str, dataset: str) -> Path:
        return self._await_device(vid, self.device(dataset), dataset)

    def _source(self, volume: VolumeSpec) -> VolumeDatasets | None:
        if not volume.snap_on_start:
            return None
        if volume.source is None:
            raise StorageError(volume.vid, "it is a snapshot, and has no source")
        return self.at(volume.source)


def _all_of(at: VolumeDatasets, found: QubeDatasets) -> list[str]:
    """List the datasets of the volume, what is easiest to lose first."""
    pasts = commits.list_pasts(at, found)
    names = (at.exported, at.work, at.imported, at.new, *pasts, at.committed)
    return [name for name in names if name in found]


def _committed_bytes(at: VolumeDatasets, found: QubeDatasets) -> int:
    name = at.committed if at.committed in found else commits.find_nameless(at, found)
    return found.all[name].size_bytes if name is not None else 0


def _revision(snapshot: Snapshot) -> Revision:
    return Revision(id=str(snapshot.epoch_s), time_s=float(snapshot.epoch_s))


def _is_encrypted(volume: VolumeSpec) -> bool:
    return volume.ephemeral and not volume.save_on_stop and not volume.snap_on_start


def _room_bytes(volume: VolumeSpec) -> int:
    return overhead_bytes() if _is_encrypted(volume) else 0


def _require_saved(volume: VolumeSpec, keeps: str) -> None:
    if not volume.save_on_stop:
        raise StorageError(volume.vid, f"it keeps {keeps}")
