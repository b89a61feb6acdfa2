"""How a content becomes the committed one, with ZFS. Blocking: for threads.

A guest writes to the volume itself. When it starts, a snapshot is made of what is committed,
`EPOCH-run` (`zfs_names.py` has all names); as long as that is there, it is what is committed. To
commit what the guest wrote is one command: the snapshot is made `EPOCH-back`, a revision, or
removed. What was cloned from a snapshot goes on with it, whatever its name, and keeps it on the
disk for as long as it needs it.

Where another ZFS volume is to become the volume (an import, a revert, an origin that starts as its
source) it takes two commands: the volume becomes `-EPOCH-past`, with its revisions; this is the
switch. Then the new one gets the name. What a crash leaves, and what becomes of it:

- `EPOCH-run` of a volume: the volume has all that its guest wrote. `stop` and `start` commit it,
  and whatever else changes what is committed does so first (`settle`).
- There is no volume, but `-new`, or `-EPOCH-past` and `-work`: the switch was done; that `-new`,
  else that `-work`, is the volume. Who needs it gives it the name first (`finish`).
- `-work` beside a volume that is saved has all that its guest wrote, and is committed as above; of
  one that is not saved it is thrown away, by `stop` and `start`.
- `-new` beside a volume is of an import or a revert that got no further, and is thrown away by the
  next call that settles the volume. Nothing but a whole content has this name.
- `-import` was not whole; it is thrown away by the next import, or by `import_end`.
- `-EPOCH-past` without a revision is thrown away by the next call that settles the volume.
- A revision too many is dropped by the next commit.

A revision made by `Driver.snapshot` while a guest runs is `EPOCH-kept`: the snapshot that is there
anyway. One made before is found to be the same as `EPOCH-run` when nothing was written between
them; then the commit keeps that alone.
"""

import time
from collections.abc import Callable
from pathlib import Path

from ..errors import StorageError
from ..host import files
from .driver import VolumeSpec
from .failures import naming
from .zfs_commands import QubeDatasets, Snapshot
from .zfs_names import State, VolumeDatasets

_OF_REVISIONS = frozenset({State.BACK, State.KEPT})


def settle(
    at: VolumeDatasets, found: QubeDatasets, volume: VolumeSpec, device: Callable[[str], Path]
) -> None:
    """End what came before: finish a switch, then commit or drop what a guest ran on."""
    finish(at, found)
    if at.new in found:
        found.remove(at.new)
    if volume.save_on_stop:
        running = find_running(at, found)
        if running is not None:
            sync(volume.vid, device(at.committed))
            commit_written(at, found, running, volume.revisions_to_keep)
        if at.work in found:
            sync(volume.vid, device(at.work))
            commit_other(at, found, at.work, volume.revisions_to_keep)
    elif at.work in found:
        found.remove(at.work)
    _remove_pasts(at, found)


def commit_written(
    at: VolumeDatasets, found: QubeDatasets, running: Snapshot, revisions_to_keep: int
) -> None:
    """Commit what a guest wrote to the volume, which has been synced; `running` is what was."""
    is_new = revisions_to_keep > 0 and not _is_same_as_before(running, found)
    if running.state is State.KEPT or is_new:
        found.restate(running, State.BACK)
    else:
        found.drop([running])
    _prune(at, found, revisions_to_keep)


def commit_other(at: VolumeDatasets, found: QubeDatasets, new: str, revisions_to_keep: int) -> None:
    """Make `new` the volume, which has been synced; what was is kept as a revision, or dropped."""
    if at.committed in found:
        epoch_s = next_epoch_s(at, found)
        if revisions_to_keep > 0:
            base = find_committed(at, found)
            if base is None:
                found.snapshot(at.committed, epoch_s, State.BACK)
            elif _is_same_as_before(base, found):
                found.drop([base])
            else:
                found.restate(base, State.BACK)
        found.rename(at.committed, at.past(epoch_s))
    found.rename(new, at.committed)
    _prune(at, found, revisions_to_keep)


def finish(at: VolumeDatasets, found: QubeDatasets) -> None:
    """Give the volume its name, if a crash came between."""
    nameless = find_nameless(at, found)
    if nameless is not None:
        found.rename(nameless, at.committed)


def find_nameless(at: VolumeDatasets, found: QubeDatasets) -> str | None:
    """Return what is the volume and has not got the name yet; None if nothing is like that."""
    if at.committed in found:
        return None
    if at.new in found:
        return at.new
    return at.work if at.work in found and list_pasts(at, found) else None


def list_pasts(at: VolumeDatasets, found: QubeDatasets) -> list[str]:
    """List what was the volume before."""
    return [name for name in found.all if at.parse_past(name) is not None]


def list_revisions(at: VolumeDatasets, found: QubeDatasets) -> list[Snapshot]:
    """List the revisions, oldest first."""
    kept = (one for one in _snapshots(at, found) if one.state in _OF_REVISIONS)
    return sorted(kept, key=lambda one: one.epoch_s)


def find_running(at: VolumeDatasets, found: QubeDatasets) -> Snapshot | None:
    """Return what is committed while a guest writes to the volume; None if none does."""
    committed = find_committed(at, found)
    return committed if committed and committed.state is not State.BASE else None


def find_committed(at: VolumeDatasets, found: QubeDatasets) -> Snapshot | None:
    """Return the snapshot of what is committed; None if there is none: the volume itself is it."""
    states = {State.RUN, State.KEPT, State.BASE}
    snapshots = found.all[at.committed].snapshots if at.committed in found else []
    return next((one for one in snapshots if one.state in states), None)


def take_committed(at: VolumeDatasets, found: QubeDatasets) -> Snapshot:
    """Return a snapshot of what is committed, to clone: the one that is there, or a new one."""
    epoch_s = next_epoch_s(at, found)
    return find_committed(at, found) or found.snapshot(at.committed, epoch_s, State.BASE)


def drop_base(at: VolumeDatasets, found: QubeDatasets) -> None:
    """Drop the snapshot from which others were cloned, for the volume will differ from it."""
    committed = find_committed(at, found)
    if committed is not None and committed.state is State.BASE:
        found.drop([committed])


def next_epoch_s(at: VolumeDatasets, found: QubeDatasets) -> int:
    """Return the time for what is made now: later than all before, whatever the clock says."""
    latest = max((one.epoch_s for one in _snapshots(at, found)), default=0)
    pasts = (at.parse_past(name) or 0 for name in list_pasts(at, found))
    return max(int(time.time()), latest + 1, max(pasts, default=0) + 1)


def sync(vid: str, device: Path) -> None:
    """Wait until what was written is on the disk. Without a device nothing is under way."""
    if device.exists():
        with naming(vid):
            files.sync_file(device)


def _is_same_as_before(snapshot: Snapshot, found: QubeDatasets) -> bool:
    """Say whether a revision has the same content: the snapshot before, if nothing was written."""
    if snapshot.written_bytes > 0:
        return False
    snapshots = found.all[snapshot.dataset].snapshots
    index = snapshots.index(snapshot)
    return index > 0 and snapshots[index - 1].state is State.BACK


def _prune(at: VolumeDatasets, found: QubeDatasets, revisions_to_keep: int) -> None:
    revisions = list_revisions(at, found)
    doomed = revisions[: max(0, len(revisions) - max(0, revisions_to_keep))]
    for dataset in {one.dataset: None for one in doomed}:
        found.drop(one for one in doomed if one.dataset == dataset)
    _remove_pasts(at, found)


def _remove_pasts(at: VolumeDatasets, found: QubeDatasets) -> None:
    with_revisions = {one.dataset for one in list_revisions(at, found)}
    for name in list_pasts(at, found):
        if name not in with_revisions:
            found.remove(name)


def _snapshots(at: VolumeDatasets, found: QubeDatasets) -> list[Snapshot]:
    names = [at.committed, *list_pasts(at, found)]
    return [one for name in names if name in found for one in found.all[name].snapshots]


def require(found: QubeDatasets, name: str, error: StorageError) -> None:
    """Raise the error unless the dataset is there."""
    if name not in found:
        raise error
