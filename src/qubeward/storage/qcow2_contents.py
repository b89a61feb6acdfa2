"""Contents of the qcow2 driver's volumes: older ones, new ones, and reading them. Blocking.

A clone and a revert copy nothing: they commit a layer that is there already.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ..errors import StorageError
from ..host import files
from .driver import Revision, VolumeSpec
from .failures import naming
from .qcow2_layers import Layers
from .qcow2_layout import NOTHING, VolumePlace, place_of
from .qcow2_merge import convert
from .qcow2_pointer import Content, Pointer
from .qcow2_volumes import NEVER_CREATED, Volumes, commit, content_of

_NOTHING_TO: Final = "it keeps nothing, so there is nothing to "


class Contents:
    """What comes to the volumes of one pool, and what is read of them."""

    def __init__(self, dir_path: Path, layers: Layers, volumes: Volumes) -> None:
        self._dir_path = dir_path
        self._layers = layers
        self._ledger = layers.ledger
        self._volumes = volumes
        #: By vid: what a clone will commit, and the layer that an export reads. Both are held.
        self._cloned: dict[str, Content] = {}
        self._exported: dict[str, int] = {}

    def forget(self, vid: str) -> None:
        """Let go of what a clone or an export of the volume holds."""
        place_of(self._dir_path, vid)
        self._drop_clone(vid)
        self._ledger.release(self._exported.pop(vid, NOTHING))

    # Older contents.

    def revisions(self, vid: str) -> Sequence[Revision]:
        """List the revisions."""
        place_of(self._dir_path, vid)
        pointer = self._ledger.find(vid)
        return () if pointer is None else tuple(kept.revision for kept in pointer.kept)

    def snapshot(self, volume: VolumeSpec) -> Revision:
        """Name the committed layer as a revision, too."""
        at = self._saved(volume, "it keeps no revisions")

        def keep(now: Pointer | None) -> Pointer:
            if now is None:
                raise StorageError(volume.vid, NEVER_CREATED)
            return now.snapshot()

        with naming(volume.vid):
            pointer = self._layers.change(volume.vid, at.pointer, keep)
        assert pointer is not None  # noqa: S101  # `keep` made it
        return pointer.kept[-1].revision

    def revert(self, volume: VolumeSpec, revision: str) -> None:
        """Name a revision's layer as the committed one."""
        at = place_of(self._dir_path, volume.vid)

        def go_back(now: Pointer | None) -> Pointer:
            found = None if now is None else now.find(revision)
            if now is None or found is None:
                raise StorageError(volume.vid, f"it has no revision {revision}")
            return now.commit(content_of(found.layer, found.size_bytes), volume.revisions_to_keep)

        with naming(volume.vid):
            self._volumes.settle(at, volume)
            self._layers.change(volume.vid, at.pointer, go_back)

    # New contents.

    def import_begin(self, volume: VolumeSpec, size_bytes: int) -> Path:
        """Make the side file."""
        at = self._saved(volume, _NOTHING_TO + "import")
        with naming(volume.vid):
            self._drop_clone(volume.vid)
            files.make_directory(at.directory)
            files.remove_file(at.imported)
            files.make_sparse(at.imported, size_bytes)
        return at.imported

    def clone(self, volume: VolumeSpec, source: VolumeSpec) -> None:
        """Hold the source's layer until the end of the import."""
        at = self._saved(volume, _NOTHING_TO + "clone")
        place_of(self._dir_path, source.vid)
        with naming(volume.vid), self._ledger.borrowed(source.vid) as pointer:
            if pointer is None:
                raise StorageError(source.vid, NEVER_CREATED)
            self._drop_clone(volume.vid)
            files.remove_file(at.imported)
            self._ledger.hold(pointer.content.layer)
            self._cloned[volume.vid] = pointer.content

    def import_end(self, volume: VolumeSpec, success: bool) -> None:
        """Commit the side file or the clone, or drop it."""
        at = place_of(self._dir_path, volume.vid)
        with naming(volume.vid):
            if success:
                cloned = self._cloned.get(volume.vid)
                if cloned is None and not at.imported.exists():
                    raise StorageError(volume.vid, "no import was begun")
                # else the next start would commit it over the import
                self._volumes.settle(at, volume)
                if cloned is None:
                    self._commit_imported(at, volume)
                else:
                    content = content_of(cloned.layer, cloned.size_bytes)
                    commit(self._layers, at, volume, content)
            self._drop_clone(volume.vid)
            files.remove_file(at.imported)

    def _commit_imported(self, at: VolumePlace, volume: VolumeSpec) -> None:
        files.take_back(at.imported)
        files.sync_file(at.imported)
        size_bytes = at.imported.stat().st_size
        if not files.has_data(at.imported):
            commit(self._layers, at, volume, content_of(NOTHING, size_bytes))
            return
        with self._layers.added(at.imported, NOTHING, "raw") as number:
            commit(self._layers, at, volume, content_of(number, size_bytes))

    def _drop_clone(self, vid: str) -> None:
        cloned = self._cloned.pop(vid, None)
        if cloned is not None:
            self._ledger.release(cloned.layer)

    # Reading.

    def export_begin(self, volume: VolumeSpec) -> Path:
        """Return the layer, if it is all of the content just as it is; else a copy."""
        at = self._saved(volume, _NOTHING_TO + "export")
        with naming(volume.vid), self._ledger.borrowed(volume.vid) as pointer:
            if pointer is None:
                raise StorageError(volume.vid, NEVER_CREATED)
            self.export_end(volume)
            content = pointer.content
            chain = self._ledger.chain(volume.vid, content.layer)
            path = self._layers.path(chain[0]) if chain else None
            if path and chain[0].format == "raw" and path.stat().st_size == content.size_bytes:
                self._ledger.hold(content.layer)
                self._exported[volume.vid] = content.layer
                return path
            new = at.exported.with_name(f"{at.exported.name}.new")
            try:
                files.remove_file(new)
                if path is None:
                    files.make_sparse(new, content.size_bytes)
                else:
                    convert(volume.vid, path, chain[0].format, new, "raw")
                    files.grow_file(new, content.size_bytes)
                new.rename(at.exported)
            finally:
                files.remove_file(new)
        return at.exported

    def export_end(self, volume: VolumeSpec) -> None:
        """Remove the copy."""
        at = place_of(self._dir_path, volume.vid)
        with naming(volume.vid):
            files.remove_file(at.exported)
            self._ledger.release(self._exported.pop(volume.vid, NOTHING))

    def _saved(self, volume: VolumeSpec, why: str) -> VolumePlace:
        at = place_of(self._dir_path, volume.vid)
        if not volume.save_on_stop:
            raise StorageError(volume.vid, why)
        return at
