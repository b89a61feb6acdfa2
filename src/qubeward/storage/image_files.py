"""What the file drivers do to files. Blocking: for threads.

What a crash leaves, and what becomes of it:

- `-dirty.img` of a saved volume has all that its guest wrote; like a disk after a power cut, it is
  whole, and the newest there is. It is never thrown away: `stop()` commits it (recovery calls that
  for guests found gone), and whatever needs the volume's newest content does so first (`settle`).
- `-dirty.img` of a volume that is not saved is thrown away by `start()` and `stop()`.
- `-import.img` and all `.new` were not whole; they are thrown away by whoever meets them.
- A revision that equals the committed file was made by a commit that went no further; the commit
  that follows takes it for its own.

A guest's disk is made under another name, synced if it will be saved, and renamed, so that a
`-dirty.img` is always whole. Directories are 0711: QEMU's user passes to the files that libvirt
gives it (it changes the owner), and lists none. Files are 0600.
"""

from collections.abc import Sequence
from pathlib import Path

from ..errors import StorageError
from ..host import extents, files
from . import revisions
from .driver import BlockImage, Revision, VolumeSpec
from .failures import naming
from .layout import VID_ROOTS, VolumeFiles, load_vids, parse_vid
from .luks import make_luks
from .revisions import Copy

_NOT_THERE = "its directories are missing: is its file system mounted?"
_NEVER_CREATED = "it was never created, or its file is lost"


class ImageFiles:
    """The files of one pool. `copy` makes its second path, a new file, equal to its first."""

    def __init__(self, dir_path: Path, copy: Copy) -> None:
        self._dir_path = dir_path
        self._copy = copy

    def at(self, vid: str) -> VolumeFiles:
        """Return a volume's files."""
        return parse_vid(self._dir_path, vid)

    # The pool.

    def setup(self) -> None:
        """Make the pool's directories."""
        with naming(f"pool directory {self._dir_path}"):
            for root in VID_ROOTS:
                files.make_directory(self._dir_path / root)

    def open(self) -> None:
        """Check that the pool's directories are there, and can be listed."""
        what = f"pool directory {self._dir_path}"
        with naming(what):
            for root in VID_ROOTS:
                try:
                    next((self._dir_path / root).iterdir(), None)
                except FileNotFoundError as error:
                    raise StorageError(what, _NOT_THERE) from error

    def teardown(self) -> None:
        """Remove the pool's directories, those that are empty."""
        with naming(f"pool directory {self._dir_path}"):
            for directory in (*(self._dir_path / root for root in VID_ROOTS), self._dir_path):
                files.remove_empty_directory(directory)

    def vids(self) -> Sequence[str]:
        """List the volumes that have any file."""
        with naming(f"pool directory {self._dir_path}"):
            return tuple(load_vids(self._dir_path))

    # A volume's life.

    def create(self, volume: VolumeSpec) -> None:
        """Make the committed file, if the volume is saved."""
        if not volume.save_on_stop:
            return
        at = self.at(volume.vid)
        with naming(volume.vid):
            files.make_directory(at.directory)
            # Repeated, it has no data yet. Data is another's: a new qube must never get it.
            if at.dirty.exists():
                raise StorageError(volume.vid, "a working file of an older volume is there")
            if revisions.load_revisions(at):
                raise StorageError(volume.vid, "revisions of an older volume are there")
            if not at.committed.exists():
                files.make_sparse(at.committed, volume.size_bytes)
            elif files.has_data(at.committed):
                raise StorageError(volume.vid, "a volume with data is there already")
            files.grow_file(at.committed, volume.size_bytes)
            files.sync_file(at.committed)
            files.sync_directory(at.directory)
            files.sync_directory(at.directory.parent)  # its name may be a cut-off create's

    def remove(self, vid: str) -> None:
        """Remove the volume's files, and its qube's directory once that is empty."""
        at = self.at(vid)
        with naming(vid):
            kept = (one.path for one in revisions.load_revisions(at))
            removed = [files.remove_file(path) for path in (*kept, *at.by_worth)]
            if any(removed):
                files.sync_directory(at.directory)
            files.remove_empty_directory(at.directory)

    def path(self, volume: VolumeSpec) -> Path:
        """Return the path of the file that a guest runs on. Touches no disk."""
        at = self.at(volume.vid)
        return at.committed if volume.is_used_itself else at.dirty

    def start(self, volume: VolumeSpec) -> BlockImage:
        """Make the working file, but for an origin that is used as it is."""
        at = self.at(volume.vid)
        key = None
        with naming(volume.vid):
            files.make_directory(at.directory)
            self.settle(at, volume)
            if volume.save_on_stop and not volume.snap_on_start:
                _require(at.committed, volume.vid, _NEVER_CREATED)
                if not volume.rw:
                    return BlockImage(path=at.committed, read_only=True)
                if volume.revisions_to_keep < 0:
                    revisions.own(at, self._copy)
                    files.grow_file(at.committed, volume.size_bytes)
                    return BlockImage(path=at.committed)
                self._copy_to_dirty(at, at.committed, volume)
            elif volume.snap_on_start:
                source = self._source(volume)
                at.dirty_of.write_text(_stamp(source), encoding="ascii")
                self._copy_to_dirty(at, source, volume)
            elif volume.ephemeral:
                key = make_luks(at.dirty, volume.size_bytes)
            else:
                files.make_sparse(at.dirty, volume.size_bytes)
        image_format = "raw" if key is None else "luks"
        return BlockImage(path=at.dirty, format=image_format, read_only=not volume.rw, key=key)

    def stop(self, volume: VolumeSpec) -> None:
        """Commit or drop the working file."""
        at = self.at(volume.vid)
        with naming(volume.vid):
            self.settle(at, volume)
            if volume.save_on_stop and volume.revisions_to_keep < 0 and at.committed.exists():
                files.take_back(at.committed)  # the guest ran on it
                files.sync_file(at.committed)

    def settle(self, at: VolumeFiles, volume: VolumeSpec) -> None:
        """End what came before: commit or drop the working file."""
        for path in (at.dirty_new, at.dirty_of, at.imported_new):
            files.remove_file(path)
        if not volume.save_on_stop:
            files.remove_file(at.dirty)
        elif at.dirty.exists():
            files.take_back(at.dirty)
            self._commit(at, at.dirty, volume.revisions_to_keep)

    def _commit(self, at: VolumeFiles, new: Path, revisions_to_keep: int) -> None:
        """Put `new` in the place of the committed file: one durable switch."""
        files.sync_file(new)
        if revisions_to_keep > 0 and at.committed.exists():
            revisions.keep(at, self._copy)
        new.rename(at.committed)
        files.sync_directory(at.directory)
        revisions.prune(at, revisions_to_keep)

    def _source(self, volume: VolumeSpec) -> Path:
        if volume.source is None:
            raise StorageError(volume.vid, "it is a snapshot, and has no source")
        source = self.at(volume.source).committed
        _require(source, volume.vid, f"its source {volume.source} is not in this pool")
        return source

    def _copy_to_dirty(self, at: VolumeFiles, source: Path, volume: VolumeSpec) -> None:
        try:
            self._copy(source, at.dirty_new)
            files.grow_file(at.dirty_new, volume.size_bytes)
            if volume.save_on_stop:
                files.switch_file(at.dirty_new, at.dirty)
            else:
                at.dirty_new.rename(at.dirty)
        except OSError:
            for path in (at.dirty_new, at.dirty_of):
                files.remove_file(path)  # they may hold the space that was missing
            raise

    def resize(self, volume: VolumeSpec, size_bytes: int) -> None:
        """Grow the committed file of a volume that no guest runs on."""
        if not volume.save_on_stop:
            return  # made anew, with its size, at each start
        at = self.at(volume.vid)
        with naming(volume.vid):
            self.settle(at, volume)
            _require(at.committed, volume.vid, _NEVER_CREATED)
            revisions.own(at, self._copy)
            files.grow_file(at.committed, size_bytes)
            files.sync_file(at.committed)

    # Older contents, and new ones.

    def revisions(self, vid: str) -> Sequence[Revision]:
        """List the revisions."""
        with naming(vid):
            return tuple(one.revision for one in revisions.load_revisions(self.at(vid)))

    def snapshot(self, volume: VolumeSpec) -> Revision:
        """Add a revision."""
        at = self.at(volume.vid)
        _require_saved(volume, "no revisions")
        with naming(volume.vid):
            _require(at.committed, volume.vid, _NEVER_CREATED)
            kept = revisions.add(at, self._copy, revisions.load_revisions(at))
            files.sync_directory(at.directory)
        return kept.revision

    def revert(self, volume: VolumeSpec, revision: str) -> None:
        """Commit a revision again."""
        at = self.at(volume.vid)
        with naming(volume.vid):
            self.settle(at, volume)
            path = revisions.find(at, volume.vid, revision)
            files.remove_file(at.imported)
            try:
                at.imported.hardlink_to(path)
            except OSError:
                self._copy(path, at.imported)
            self._commit(at, at.imported, volume.revisions_to_keep)
            files.remove_file(at.imported)  # a rename over the very same file does nothing

    def import_begin(self, volume: VolumeSpec, size_bytes: int) -> Path:
        """Make the side file."""
        at = self.at(volume.vid)
        _require_saved(volume, "nothing, so nothing can be imported")
        with naming(volume.vid):
            files.make_directory(at.directory)
            files.remove_file(at.imported)
            files.make_sparse(at.imported, size_bytes)
        return at.imported

    def clone(self, volume: VolumeSpec, source: VolumeSpec) -> None:
        """Make the side file a copy of another volume."""
        at = self.at(volume.vid)
        _require_saved(volume, "nothing, so nothing can be cloned to it")
        of = self.at(source.vid).committed
        with naming(volume.vid):
            _require(of, source.vid, _NEVER_CREATED)
            files.make_directory(at.directory)
            for path in (at.imported, at.imported_new):
                files.remove_file(path)
            try:
                self._copy(of, at.imported_new)
            except OSError:
                files.remove_file(at.imported_new)
                raise
            at.imported_new.rename(at.imported)

    def import_end(self, volume: VolumeSpec, success: bool) -> None:
        """Switch to the side file, or drop it."""
        at = self.at(volume.vid)
        with naming(volume.vid):
            if not success:
                for path in (at.imported_new, at.imported):
                    files.remove_file(path)
                return
            _require(at.imported, volume.vid, "no import was begun")
            self.settle(at, volume)  # else the next start would commit it over the import
            files.take_back(at.imported)
            self._commit(at, at.imported, volume.revisions_to_keep)

    def export(self, volume: VolumeSpec) -> Path:
        """Return the committed file: it is never written to, and goes on while it is open."""
        _require_saved(volume, "nothing, so there is nothing to export")
        at = self.at(volume.vid)
        with naming(volume.vid):
            _require(at.committed, volume.vid, _NEVER_CREATED)
        return at.committed

    # What is known.

    def size_bytes(self, volume: VolumeSpec) -> int:
        """Return the size of the working file, else of the committed one, else the planned."""
        at = self.at(volume.vid)
        with naming(volume.vid):
            if volume.save_on_stop or not volume.ephemeral:
                started = files.find_size_bytes(at.dirty)
                if started is not None:
                    return started
            if volume.save_on_stop and not volume.snap_on_start:
                committed = files.find_size_bytes(at.committed)
                return volume.size_bytes if committed is None else committed
            if volume.source is None:
                return volume.size_bytes
            source = self.at(volume.source).committed
            return max(files.find_size_bytes(source) or 0, volume.size_bytes)

    def usage_bytes(self, vid: str) -> int:
        """Return what the volume's files take, what they share with each other once."""
        at = self.at(vid)
        with naming(vid):
            kept = (one.path for one in revisions.load_revisions(at))
            return extents.unique_bytes((*kept, *at.by_worth))

    def is_outdated(self, volume: VolumeSpec) -> bool:
        """Compare the source with what it was at the start."""
        if not volume.snap_on_start or volume.source is None:
            return False
        with naming(volume.vid):
            try:
                began_as = self.at(volume.vid).dirty_of.read_text(encoding="ascii")
                return began_as != _stamp(self.at(volume.source).committed)
            except FileNotFoundError:
                return False

    def keep_record(self, vid: str, record: bytes) -> None:
        """Write the record's file."""
        at = self.at(vid)
        with naming(vid):
            _require(at.directory, vid, _NEVER_CREATED)
            files.replace_file(at.record, record)

    def records(self) -> dict[str, bytes]:
        """Read all records' files."""
        found = {}
        for vid in self.vids():
            path = self.at(vid).record
            with naming(vid):
                if path.exists():
                    found[vid] = path.read_bytes()
        return found


def _stamp(path: Path) -> str:
    """Return what tells one content of a committed file from another."""
    found = path.stat()
    return f"{found.st_ino} {found.st_mtime_ns} {found.st_size}"


def _require(path: Path, vid: str, why: str) -> None:
    if not path.exists():
        raise StorageError(vid, why)


def _require_saved(volume: VolumeSpec, keeps: str) -> None:
    if not volume.save_on_stop:
        raise StorageError(volume.vid, f"it keeps {keeps}")
