"""What the `lvm_thin` driver does to logical volumes, by its calls. Blocking: for threads.

Names are in `lvm_names.py`, what a crash leaves and who puts it right in `lvm_commits.py`.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ..errors import StorageError
from .driver import BlockImage, Revision, Usage, VolumeSpec
from .failures import naming
from .host_tools import await_device
from .luks import make_luks, overhead_bytes
from .lvm_commands import ThinPool, ThinVolumes
from .lvm_commits import (
    Commits,
    drop_old,
    find_nameless,
    load_pasts,
    mark_copies,
    next_epoch_s,
)
from .lvm_names import Past, VolumeLvs, find_vid, parse_vid

_NEVER_CREATED: Final = "it was never created, or its logical volume is lost"


class LvmVolumes:
    """The volumes of one thin pool. `devices` is where LVM puts a group's device nodes."""

    def __init__(self, pool: ThinPool, devices: Path) -> None:
        self._pool = pool
        self._devices = devices / pool.volume_group
        self._commits = Commits(self._devices)

    def at(self, vid: str) -> VolumeLvs:
        """Return a volume's names."""
        return parse_vid(self._pool.volume_group, vid)

    def device(self, name: str) -> Path:
        """Return where the device of a logical volume is or would be."""
        return self._devices / name

    # The pool.

    def open(self) -> None:
        """Raise `StorageError` if there is no such pool; put right what LVM was kept from."""
        self._pool.check()
        with contextlib.suppress(StorageError):  # a full pool may be opened, to make room in it
            self._pool.send_messages()

    def usage(self) -> Usage:
        """Return how much of the pool is used."""
        return self._pool.check()

    def vids(self) -> Sequence[str]:
        """List the volumes that have any logical volume."""
        names = self._pool.scan(self._pool.what).lvs
        vids = (find_vid(self._pool.volume_group, name) for name in names)
        return sorted({vid for vid in vids if vid is not None})

    # A volume's life.

    def create(self, volume: VolumeSpec) -> None:
        """Make the committed content, if the volume is saved."""
        if not volume.save_on_stop:
            return
        at, thin = self._look(volume.vid)
        left = set(_all_of(at, thin)) - {at.committed}
        if left:
            raise StorageError(volume.vid, f"{min(left)} of an older volume is there")
        if at.committed not in thin:
            thin.create(at.committed, volume.size_bytes)
            return
        if thin.lvs[at.committed].used_bytes is None:
            thin.activate(at.committed)
            thin.scan_again()
        # Repeated, it has no data yet. Data is another's: a new qube must never get it.
        if thin.lvs[at.committed].used_bytes != 0:
            raise StorageError(volume.vid, "a volume with data is there already")
        thin.grow(at.committed, volume.size_bytes)

    def remove(self, vid: str) -> None:
        """Remove all logical volumes of the volume."""
        at, thin = self._look(vid)
        thin.remove(*_all_of(at, thin))

    def start(self, volume: VolumeSpec) -> BlockImage:
        """Make what a guest runs on, but for an origin that is used as it is."""
        at, thin = self._look(volume.vid)
        source = self._source(volume)
        self._commits.settle(at, thin, volume)
        name, key = at.snap, None
        if source is not None:
            why = f"its source {volume.source} is not in this pool"
            self._commits.copy_committed(thin, source, at.snap, StorageError(volume.vid, why))
            thin.grow(at.snap, volume.size_bytes)
        elif volume.save_on_stop:
            _require(thin, at.committed, StorageError(volume.vid, _NEVER_CREATED))
            if not volume.rw or volume.revisions_to_keep < 0:
                name = at.committed
                self._open_committed(at, thin, volume)
            else:
                thin.copy(at.committed, at.snap)
                thin.grow(at.snap, volume.size_bytes)
        else:
            thin.create(at.snap, volume.size_bytes + _room_bytes(volume))
        path = await_device(volume.vid, self.device(name))
        if _is_encrypted(volume):
            with naming(volume.vid):
                key = make_luks(path, volume.size_bytes)
        image_format = "raw" if key is None else "luks"
        return BlockImage(path=path, format=image_format, read_only=not volume.rw, key=key)

    def _open_committed(self, at: VolumeLvs, thin: ThinVolumes, volume: VolumeSpec) -> None:
        if volume.rw:
            mark_copies(at, thin)
            thin.grow(at.committed, volume.size_bytes)
        thin.activate(at.committed)

    def stop(self, volume: VolumeSpec) -> None:
        """Commit or drop what a guest ran on."""
        at, thin = self._look(volume.vid)
        self._commits.settle(at, thin, volume)
        if volume.save_on_stop and volume.revisions_to_keep < 0 and at.committed in thin:
            self._commits.sync(volume.vid, thin, at.committed)  # the guest ran on it
            mark_copies(at, thin)  # made meanwhile

    def resize(self, volume: VolumeSpec, size_bytes: int, *, running: bool) -> None:
        """Grow what a guest runs on, or the committed content."""
        at, thin = self._look(volume.vid)
        if running and at.snap in thin:
            thin.grow(at.snap, size_bytes + _room_bytes(volume))
            return
        if not volume.save_on_stop:
            return  # made anew, with its size, at each start
        if not running:
            self._commits.settle(at, thin, volume)
        _require(thin, at.committed, StorageError(volume.vid, _NEVER_CREATED))
        thin.grow(at.committed, size_bytes)

    def tidy(self, volume: VolumeSpec) -> None:
        """Drop what somebody had open when it was replaced."""
        at, thin = self._look(volume.vid)
        drop_old(at, thin)

    # Older contents, and new ones.

    def revisions(self, vid: str) -> Sequence[Revision]:
        """List the revisions."""
        at, thin = self._look(vid)
        return [_revision(past) for past in load_pasts(at, thin) if past.is_kept]

    def snapshot(self, volume: VolumeSpec) -> Revision:
        """Copy what is committed."""
        _require_saved(volume, "no revisions")
        at, thin = self._look(volume.vid)
        self._commits.finish(at, thin)
        _require(thin, at.committed, StorageError(volume.vid, _NEVER_CREATED))
        epoch_s = next_epoch_s(at, thin)
        name = at.past(epoch_s, is_kept=True)
        thin.copy(at.committed, name)
        return _revision(Past(epoch_s, is_kept=True, lv=name))

    def revert(self, volume: VolumeSpec, revision: str) -> None:
        """Commit a copy of a revision."""
        at, thin = self._look(volume.vid)
        self._commits.settle(at, thin, volume)
        for past in load_pasts(at, thin):
            if past.is_kept and past.revision == revision:
                thin.copy(past.lv, at.new)
                self._commits.commit(at, thin, at.new, volume)
                return
        raise StorageError(volume.vid, f"it has no revision {revision}")

    def import_begin(self, volume: VolumeSpec, size_bytes: int) -> Path:
        """Make what an import fills."""
        _require_saved(volume, "nothing, so nothing can be imported")
        at, thin = self._look(volume.vid)
        if at.imported in thin:
            thin.remove(at.imported)
        thin.create(at.imported, size_bytes)
        return await_device(volume.vid, self.device(at.imported))

    def clone(self, volume: VolumeSpec, source: VolumeSpec) -> None:
        """Make what an import would fill a copy of another volume."""
        _require_saved(volume, "nothing, so nothing can be cloned to it")
        of = self.at(source.vid)
        at, thin = self._look(volume.vid)
        if at.imported in thin:
            thin.remove(at.imported)
        self._commits.copy_committed(
            thin, of, at.imported, StorageError(source.vid, _NEVER_CREATED)
        )

    def import_end(self, volume: VolumeSpec, *, success: bool) -> None:
        """Commit what was filled, or drop it."""
        at, thin = self._look(volume.vid)
        if not success:
            if at.imported in thin:
                thin.remove(at.imported)
            return
        _require(thin, at.imported, StorageError(volume.vid, "no import was begun"))
        # What a guest left is older: the next start would commit it over the import.
        self._commits.settle(at, thin, volume)
        self._commits.sync(volume.vid, thin, at.imported)
        thin.rename(at.imported, at.new)
        self._commits.commit(at, thin, at.new, volume)

    def export(self, volume: VolumeSpec) -> Path:
        """Return the device of what is committed, which no guest writes to."""
        _require_saved(volume, "nothing, so there is nothing to export")
        at, thin = self._look(volume.vid)
        self._commits.finish(at, thin)
        _require(thin, at.committed, StorageError(volume.vid, _NEVER_CREATED))
        thin.activate(at.committed)
        return await_device(volume.vid, self.device(at.committed))

    # What is known.

    def path(self, volume: VolumeSpec) -> Path:
        """Return where the device that a guest runs on is or would be."""
        at = self.at(volume.vid)
        is_origin = volume.save_on_stop and not volume.snap_on_start
        runs_on_it = is_origin and (not volume.rw or volume.revisions_to_keep < 0)
        return self.device(at.committed if runs_on_it else at.snap)

    def size_bytes(self, volume: VolumeSpec) -> int:
        """Return the size of what a guest runs on, else of what is committed, else the planned."""
        at, thin = self._look(volume.vid)
        if _is_encrypted(volume):
            return volume.size_bytes
        if at.snap in thin:
            return thin.lvs[at.snap].size_bytes
        if volume.save_on_stop and not volume.snap_on_start:
            return _committed_bytes(at, thin) or volume.size_bytes
        if volume.source is None:
            return volume.size_bytes
        return max(_committed_bytes(self.at(volume.source), thin), volume.size_bytes)

    def usage_bytes(self, vid: str) -> int:
        """Return what the volume certainly takes.

        LVM tells how much each content maps, not how much two of them share. They are made of each
        other, but for what an import fills: so the largest counts, and that.
        """
        at, thin = self._look(vid)
        used = {name: thin.lvs[name].used_bytes or 0 for name in _all_of(at, thin)}
        imported = used.pop(at.imported, 0)
        return max(used.values(), default=0) + imported

    def is_outdated(self, volume: VolumeSpec) -> bool:
        """Say whether what the snapshot was made of is no longer what is committed."""
        if not volume.snap_on_start or volume.source is None:
            return False
        at, thin = self._look(volume.vid)
        source = self.at(volume.source)
        return at.snap in thin and thin.lvs[at.snap].origin != source.committed

    def _look(self, vid: str) -> tuple[VolumeLvs, ThinVolumes]:
        at = self.at(vid)
        return at, self._pool.scan(vid)

    def _source(self, volume: VolumeSpec) -> VolumeLvs | None:
        if not volume.snap_on_start:
            return None
        if volume.source is None:
            raise StorageError(volume.vid, "it is a snapshot, and has no source")
        return self.at(volume.source)


def _all_of(at: VolumeLvs, thin: ThinVolumes) -> list[str]:
    """List the logical volumes of the volume."""
    named = (at.committed, at.snap, at.imported, at.new)
    return [name for name in thin.lvs if name in named or at.parse_past(name) is not None]


def _committed_bytes(at: VolumeLvs, thin: ThinVolumes) -> int:
    name = at.committed if at.committed in thin else find_nameless(at, thin)
    return thin.lvs[name].size_bytes if name is not None else 0


def _revision(past: Past) -> Revision:
    return Revision(id=past.revision, time_s=float(past.epoch_s))


def _is_encrypted(volume: VolumeSpec) -> bool:
    return volume.ephemeral and not volume.save_on_stop and not volume.snap_on_start


def _room_bytes(volume: VolumeSpec) -> int:
    return overhead_bytes() if _is_encrypted(volume) else 0


def _require(thin: ThinVolumes, name: str, error: StorageError) -> None:
    if name not in thin:
        raise error


def _require_saved(volume: VolumeSpec, keeps: str) -> None:
    if not volume.save_on_stop:
        raise StorageError(volume.vid, f"it keeps {keeps}")
