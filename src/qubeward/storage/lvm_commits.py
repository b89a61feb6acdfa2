"""How a content becomes the committed one, with LVM. Blocking: for threads.

A content is a thin volume, and to commit one is to give it the committed name (`lvm_names.py` has
all names). LVM renames one volume at a time, so that a commit is two commands: what was committed
becomes a past content, `-EPOCH-back` or `-EPOCH-old`; this is the switch. Then the new content gets
the name. What a crash leaves, and what becomes of it:

- Nothing has the committed name, and there is `-new`, or a past content and `-snap`: the switch was
  done. That `-new`, else that `-snap`, is what is committed; who needs it gives it the name first
  (`finish`).
- `-snap` of a saved volume, beside a committed content, has all that its guest wrote: `stop` and
  `start` commit it, and whatever else changes what is committed does so first (`settle`).
- `-snap` of a volume that is not saved is thrown away by `stop` and `start`.
- `-new`, beside a committed content, is of an import or a revert that got no further: it is thrown
  away by the next call that settles the volume. Nothing but a whole content has this name.
- `-import` was not whole; it is thrown away by the next import, or by `import_end`.
- `-EPOCH-old` is thrown away by the next call that settles the volume, or by `tidy`. Until then
  somebody may have it open: an export goes on when its volume is committed meanwhile.
- A revision too many is dropped by the next commit.

A revision made by `Driver.snapshot` is a copy whose origin is the committed content. As long as it
is, and is active, both are equal, and the next commit keeps nothing else. Before a guest writes to
the committed content itself (`revisions_to_keep` -1) its copies are marked as different.

A new content is activated before the switch: after a power cut there may be no more than its name.
Its data is synced. LVM syncs what it does itself.
"""

import contextlib
import threading
import time
from pathlib import Path
from typing import Final

from ..errors import StorageError
from ..host import files
from .driver import VolumeSpec
from .failures import naming
from .lvm_commands import ThinVolumes
from .lvm_names import Past, VolumeLvs

_DIFFERS: Final = "qubeward.differs-from-origin"


class Commits:
    """The commits of one volume group. `devices` is the directory of its device nodes."""

    def __init__(self, devices: Path) -> None:
        self._devices = devices
        self._switches: dict[str, threading.Lock] = {}

    def settle(self, at: VolumeLvs, thin: ThinVolumes, volume: VolumeSpec) -> None:
        """End what came before: finish a commit, then commit or drop what a guest ran on."""
        self.finish(at, thin)
        worthless = (at.new,) if volume.save_on_stop else (at.new, at.snap)
        thin.remove(*(name for name in worthless if name in thin))
        if at.snap in thin:
            self.commit(at, thin, at.snap, volume)
        else:
            drop_old(at, thin)

    def commit(self, at: VolumeLvs, thin: ThinVolumes, new: str, volume: VolumeSpec) -> None:
        """Give `new` the committed name; what had it is kept as a revision, or dropped."""
        thin.activate(new)  # before its origin may go (`lvm_commands.py`)
        self.sync(volume.vid, thin, new)
        to_keep = max(0, volume.revisions_to_keep)
        with self._switch(at):
            if at.committed in thin:
                is_kept = to_keep > 0 and not _equal_to_committed(at, thin)
                thin.rename(at.committed, at.past(next_epoch_s(at, thin), is_kept=is_kept))
            thin.rename(new, at.committed)
        kept = [past.lv for past in load_pasts(at, thin) if past.is_kept]
        drop_old(at, thin, *kept[: max(0, len(kept) - to_keep)])

    def finish(self, at: VolumeLvs, thin: ThinVolumes) -> None:
        """Give the committed content its name, if a crash came between."""
        if find_nameless(at, thin) is not None:
            with self._switch(at):
                thin.scan_again()  # it may be no crash, but another thread's commit
                _name(at, thin)

    def copy_committed(
        self, thin: ThinVolumes, source: VolumeLvs, name: str, missing: StorageError
    ) -> None:
        """Make `name` a copy of what is committed of a volume, which may be committed just now."""
        if source.committed in thin:
            with contextlib.suppress(StorageError):  # had no name for a moment, or it fails again
                thin.copy(source.committed, name)
                return
        with self._switch(source):
            thin.scan_again()
            _name(source, thin)
            if source.committed not in thin:
                raise missing
            thin.copy(source.committed, name)

    def sync(self, vid: str, thin: ThinVolumes, name: str) -> None:
        """Wait until what was written is on the disk. Without a device nothing is under way."""
        if thin.lvs[name].is_active:
            with naming(vid):
                files.sync_file(self._devices / name)

    def _switch(self, at: VolumeLvs) -> threading.Lock:
        """Return what is held while the committed name moves, and by who needs it to stay."""
        return self._switches.setdefault(at.committed, threading.Lock())


def load_pasts(at: VolumeLvs, thin: ThinVolumes) -> list[Past]:
    """List what was committed before, oldest first."""
    return sorted(past for past in map(at.parse_past, thin.lvs) if past is not None)


def next_epoch_s(at: VolumeLvs, thin: ThinVolumes) -> int:
    """Return the time for what becomes past now: later than all before, whatever the clock says."""
    pasts = load_pasts(at, thin)
    return max(int(time.time()), pasts[-1].epoch_s + 1 if pasts else 0)


def find_nameless(at: VolumeLvs, thin: ThinVolumes) -> str | None:
    """Return what is committed and has not got the name yet; None if nothing is like that."""
    if at.committed in thin:
        return None
    if at.new in thin:
        return at.new
    return at.snap if at.snap in thin and load_pasts(at, thin) else None


def drop_old(at: VolumeLvs, thin: ThinVolumes, *more: str) -> None:
    """Drop past contents: those that are not kept, and `more`. What is open is dropped later."""
    old = (past.lv for past in load_pasts(at, thin) if not past.is_kept)
    closed = [name for name in (*more, *old) if not thin.lvs[name].is_open]
    # The commit is done. One that somebody opened since the scan goes with the next.
    with contextlib.suppress(StorageError):
        thin.remove(*closed)


def mark_copies(at: VolumeLvs, thin: ThinVolumes) -> None:
    """Note of revisions that they will differ from the committed content, which changes now."""
    for past in _equal_to_committed(at, thin):
        thin.tag(past.lv, _DIFFERS)


def _equal_to_committed(at: VolumeLvs, thin: ThinVolumes) -> list[Past]:
    lvs = thin.lvs
    return [
        past
        for past in load_pasts(at, thin)
        if past.is_kept
        and lvs[past.lv].is_active  # else it may be a name alone
        and lvs[past.lv].origin == at.committed
        and _DIFFERS not in lvs[past.lv].tags
    ]


def _name(at: VolumeLvs, thin: ThinVolumes) -> None:
    nameless = find_nameless(at, thin)
    if nameless is not None:
        thin.rename(nameless, at.committed)
