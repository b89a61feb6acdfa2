"""What is known of the qcow2 driver's volumes: sizes, usage, age, records. Blocking."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ..errors import StorageError
from ..host import extents, files
from . import qcow2_image as image
from . import qcow2_place
from .driver import Usage, VolumeSpec
from .failures import naming
from .qcow2_layers import Layers
from .qcow2_layout import NOTHING, load_files, place_of
from .qcow2_pointer import Pointer
from .qcow2_volumes import NEVER_CREATED

_RECORD: Final = ".record"


class Figures:
    """What is known of the volumes of one pool."""

    def __init__(self, dir_path: Path, layers: Layers) -> None:
        self._dir_path = dir_path
        self._layers = layers
        self._ledger = layers.ledger

    def path(self, volume: VolumeSpec) -> Path:
        """Return the overlay's path, or which it would be. Touches no disk."""
        at = place_of(self._dir_path, volume.vid)
        source = volume.source if volume.snap_on_start else volume.vid
        if source is None or not (volume.save_on_stop or volume.snap_on_start):
            return at.raw
        pointer = None
        with contextlib.suppress(StorageError):
            on = self._ledger.find_overlay(volume.vid)
            if on is not None:
                return at.overlay(on)
            pointer = self._ledger.find(source)
        return at.overlay(NOTHING if pointer is None else pointer.content.layer)

    def size_bytes(self, volume: VolumeSpec) -> int:
        """Return the size of the overlay, else of what is committed, else the planned."""
        at = place_of(self._dir_path, volume.vid)
        with naming(volume.vid):
            on = self._ledger.find_overlay(volume.vid)
            if on is not None:
                with contextlib.suppress(FileNotFoundError):  # committed just now
                    return _read_size(volume.vid, at.overlay(on))
            if not volume.save_on_stop and not volume.snap_on_start:
                started = None if volume.ephemeral else files.find_size_bytes(at.raw)
                return volume.size_bytes if started is None else started
            if not volume.snap_on_start:
                pointer = self._ledger.find(volume.vid)
                return volume.size_bytes if pointer is None else pointer.content.size_bytes
            source = self._source(volume)
            return max(source.content.size_bytes if source else 0, volume.size_bytes)

    def _source(self, volume: VolumeSpec) -> Pointer | None:
        if volume.source is None:
            return None
        place_of(self._dir_path, volume.source)
        return self._ledger.find(volume.source)

    def usage_bytes(self, vid: str) -> int:
        """Return what the volume's files take, with the layers of all its contents."""
        at = place_of(self._dir_path, vid)
        with naming(vid):
            on, pointer = self._ledger.find_overlay(vid), self._ledger.find(vid)
            paths = [at.raw, at.imported, at.exported]
            if on is not None:
                paths.append(at.overlay(on))
            for number in () if pointer is None else {*pointer.layers, on or NOTHING}:
                paths += map(self._layers.path, self._ledger.chain(vid, number))
            return extents.unique_bytes(paths)

    def is_outdated(self, volume: VolumeSpec) -> bool:
        """Compare what the overlay is on with what is committed of the source."""
        place_of(self._dir_path, volume.vid)
        on = self._ledger.find_overlay(volume.vid)
        if on is None or not volume.snap_on_start:
            return False
        source = self._source(volume)
        return source is not None and not source.is_on(on)

    def vids(self) -> Sequence[str]:
        """List the volumes that have any file that is whole."""
        with naming(f"pool directory {self._dir_path}"):
            found = {file.vid: None for file in load_files(self._dir_path) if not file.is_new}
        return tuple(found)

    def usage(self) -> Usage:
        """Return the file system's size, and what is taken of it.

        The directories are checked, else an unmounted pool would show the file system beneath it.
        """
        qcow2_place.check(self._dir_path)
        with naming(f"pool directory {self._dir_path}"):
            size_bytes, usage_bytes = files.filesystem_bytes(self._dir_path)
        return Usage(size_bytes=size_bytes, usage_bytes=usage_bytes)

    def keep_record(self, vid: str, record: bytes) -> None:
        """Write the record's file."""
        at = place_of(self._dir_path, vid)
        with naming(vid):
            if not at.directory.exists():
                raise StorageError(vid, NEVER_CREATED)
            try:
                files.replace_file(at.record, record)
            except OSError:
                files.remove_file(at.record.with_name(f"{at.record.name}.new"))
                raise

    def records(self) -> dict[str, bytes]:
        """Read all records' files."""
        kept = {}
        for found in load_files(self._dir_path):
            if found.what == _RECORD and not found.is_new:
                with naming(found.vid):
                    kept[found.vid] = found.path.read_bytes()
        return kept


def _read_size(vid: str, path: Path) -> int:
    try:
        return image.read_header(path).size_bytes
    except image.BadImageError as error:
        raise StorageError(vid, f"what its guest runs on is damaged: {error}") from error
