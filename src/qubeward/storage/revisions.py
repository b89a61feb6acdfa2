"""Revisions of a volume kept as a file: hard links to what was committed before.

A commit renames a new file over the committed one; a link made before keeps the old content, in no
time and no space on any file system that has links. So a file with a link may never be written to:
who wants to write to the committed file makes it his own first (`own`).
"""

import calendar
import errno
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..errors import StorageError
from ..host import files
from .driver import Revision
from .layout import VolumeFiles

_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"
_SUFFIX: Final = re.compile(r"\.(?P<number>[1-9][0-9]{0,17})@(?P<time>[0-9TZ:-]{20})", re.ASCII)
_NO_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})

Copy = Callable[[Path, Path], None]


@dataclass(frozen=True, slots=True, order=True)
class KeptFile:
    """One revision's number and file."""

    number: int
    path: Path

    @property
    def revision(self) -> Revision:
        """Return it as the contract has it."""
        text = self.path.name.rpartition("@")[2]
        try:
            moment = time.strptime(text, _TIME)
        except ValueError:
            return Revision(id=str(self.number))
        return Revision(id=str(self.number), time_s=float(calendar.timegm(moment)))


def load_revisions(at: VolumeFiles) -> list[KeptFile]:
    """List the volume's revisions, oldest first."""
    head = at.committed.name
    found = []
    try:
        entries = list(at.directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    for path in entries:
        match = _SUFFIX.fullmatch(path.name, len(head)) if path.name.startswith(head) else None
        if match is not None:
            found.append(KeptFile(int(match["number"]), path))
    return sorted(found)


def keep(at: VolumeFiles, copy: Copy) -> KeptFile:
    """Make the committed content a revision, unless the newest revision is just that."""
    kept = load_revisions(at)
    if kept and kept[-1].path.samefile(at.committed):
        return kept[-1]
    return add(at, copy, kept)


def add(at: VolumeFiles, copy: Copy, kept: list[KeptFile]) -> KeptFile:
    """Make the committed content one more revision. Not durable: sync the directory after."""
    number = kept[-1].number + 1 if kept else 1
    stamp = time.strftime(_TIME, time.gmtime(at.committed.stat().st_mtime))
    path = at.committed.with_name(f"{at.committed.name}.{number}@{stamp}")
    try:
        path.hardlink_to(at.committed)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        files.remove_file(at.imported_new)
        copy(at.committed, at.imported_new)
        files.sync_file(at.imported_new)
        at.imported_new.rename(path)
    return KeptFile(number, path)


def prune(at: VolumeFiles, revisions_to_keep: int) -> None:
    """Drop the oldest revisions beyond the number. One that comes back after a crash goes later."""
    kept = load_revisions(at)
    for revision in kept[: max(0, len(kept) - max(0, revisions_to_keep))]:
        files.remove_file(revision.path)


def find(at: VolumeFiles, vid: str, revision: str) -> Path:
    """Return a revision's file, or raise `StorageError`."""
    for one in load_revisions(at):
        if str(one.number) == revision:
            return one.path
    raise StorageError(vid, f"it has no revision {revision}")


def own(at: VolumeFiles, copy: Copy) -> None:
    """Make the committed file one that no revision shares, so that it may be written to."""
    if at.committed.stat().st_nlink > 1:
        files.remove_file(at.dirty_new)
        copy(at.committed, at.dirty_new)
        files.switch_file(at.dirty_new, at.committed)
