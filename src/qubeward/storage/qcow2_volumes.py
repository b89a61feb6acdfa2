"""What the qcow2 driver does to a volume's files. Blocking: for threads.

A content is a layer with those below it, none of which ever changes (`qcow2_layers.py`). A pointer
says which is committed (`qcow2_pointer.py`); to replace it is to commit. What a crash leaves, and
what becomes of it:

- The overlay of a saved volume has all that its guest wrote, and is never thrown away: `stop()`
  commits it, and whatever needs the volume's newest content does so first (`settle`). Its name
  in the qube's directory stays until the pointer names the layer; then it is only taken away.
- The overlay of a volume that is not saved is thrown away by `start()` and `stop()`.
- `-import.raw` was not whole; it is thrown away by whoever meets it.
- `-export.raw` and all `.new` are swept away by `open`, as are layers that nobody names.

Directories are 0711: QEMU's user passes to the files that libvirt gives it, and lists none. Files
are 0600.
"""

import logging
import time
from pathlib import Path
from typing import Final

from ..errors import StorageError
from ..host import files
from . import qcow2_image as image
from .driver import BlockImage, VolumeSpec
from .failures import naming
from .luks import make_luks
from .qcow2_layers import Layers
from .qcow2_layout import NOTHING, VolumePlace, from_overlay, parse_layer, place_of
from .qcow2_merge import merge
from .qcow2_pointer import Content, Pointer

log = logging.getLogger(__name__)

NEVER_CREATED: Final = "it was never created, or its file is lost"
#: From how many layers on a start merges them first, and on how many it never runs.
_START_MERGES: Final = 24
_START_REFUSES: Final = 48
#: How many layers a stop leaves to be merged in the background.
_MOST_LAYERS: Final = 8


class Volumes:
    """The life of the volumes of one pool."""

    def __init__(self, dir_path: Path, layers: Layers) -> None:
        self._dir_path = dir_path
        self._layers = layers
        self._ledger = layers.ledger

    def create(self, volume: VolumeSpec) -> None:
        """Make the pointer, to nothing, if the volume is saved."""
        if not volume.save_on_stop:
            return
        at = place_of(self._dir_path, volume.vid)
        with naming(volume.vid):
            # Repeated, it has no data yet. Data is another's: a new qube must never get it.
            if self._ledger.find_overlay(volume.vid) is not None:
                raise StorageError(volume.vid, "a working file of an older volume is there")

            def make(now: Pointer | None) -> Pointer:
                if now is None:
                    return Pointer(content=content_of(NOTHING, volume.size_bytes))
                if not now.is_empty or now.kept:
                    raise StorageError(volume.vid, "a volume with data is there already")
                return now.grow(volume.size_bytes)

            files.make_directory(at.directory)
            self._layers.change(volume.vid, at.pointer, make)
            files.sync_directory(at.directory.parent)  # its name may be a cut-off create's

    def remove(self, vid: str) -> None:
        """Remove the pointer, then the volume's files, and its qube's directory if it is empty."""
        at = place_of(self._dir_path, vid)
        with naming(vid):
            self._ledger.find_overlay(vid)
            self._layers.remove(vid, at.pointer)
            removed = [files.remove_file(path) for path in at.load_all()]
            if any(removed):
                files.sync_directory(at.directory)
            self._ledger.drop_overlay(vid)
            files.remove_empty_directory(at.directory)

    # A guest's use.

    def start(self, volume: VolumeSpec) -> BlockImage:
        """Make an overlay on what is committed of the volume, or of its source."""
        at = place_of(self._dir_path, volume.vid)
        with naming(volume.vid):
            self.settle(at, volume)
            if not volume.save_on_stop and not volume.snap_on_start:
                return self._start_volatile(at, volume)
            source = volume.source if volume.snap_on_start else volume.vid
            if source is None:
                raise StorageError(volume.vid, "it is a snapshot, and has no source")
            source_at = place_of(self._dir_path, source)
            self._bound_layers(source, source_at)
            with self._ledger.borrowed(source) as pointer:
                if pointer is None:
                    missing = f"its source {source} is not in this pool"
                    raise StorageError(
                        volume.vid, missing if volume.snap_on_start else NEVER_CREATED
                    )
                self._make_overlay(at, volume, pointer.content)
            path = at.overlay(pointer.content.layer)
        return BlockImage(path=path, format="qcow2", read_only=not volume.rw)

    def _start_volatile(self, at: VolumePlace, volume: VolumeSpec) -> BlockImage:
        files.make_directory(at.directory)
        key = None
        if volume.ephemeral:
            key = make_luks(at.raw, volume.size_bytes)
        else:
            files.make_sparse(at.raw, volume.size_bytes)
        image_format = "raw" if key is None else "luks"
        return BlockImage(path=at.raw, format=image_format, read_only=not volume.rw, key=key)

    def _bound_layers(self, vid: str, at: VolumePlace) -> None:
        """Merge layers that were never merged in the background, before they are too many."""
        pointer = self._ledger.find(vid)
        if pointer is None:
            return
        number = len(self._ledger.chain(vid, pointer.content.layer))
        if number < _START_MERGES:
            return
        log.warning("%s has %d layers, which are merged before it starts", vid, number)
        try:
            merge(self._layers, vid, at.pointer, _MOST_LAYERS)
        except StorageError:
            if number >= _START_REFUSES:
                raise
            log.exception("%s starts with %d layers", vid, number)

    def _make_overlay(self, at: VolumePlace, volume: VolumeSpec, content: Content) -> None:
        """Make it under another name, so that the overlay of a saved volume is always whole."""
        backing, backing_format = "", ""
        if content.layer != NOTHING:
            layer = self._ledger.chain(volume.vid, content.layer)[0]
            backing, backing_format = from_overlay(layer.name), layer.format
        path = at.overlay(content.layer)
        new = path.with_name(f"{path.name}.new")
        files.make_directory(at.directory)
        self._ledger.put_overlay(volume.vid, content.layer)
        try:
            files.remove_file(new)
            size_bytes = max(volume.size_bytes, content.size_bytes)
            image.make_overlay(new, size_bytes, backing, backing_format)
            if volume.save_on_stop:
                files.switch_file(new, path)
            else:
                new.rename(path)
        except OSError:
            for made in (new, path):
                files.remove_file(made)
            self._ledger.drop_overlay(volume.vid)
            raise

    def stop(self, volume: VolumeSpec) -> None:
        """Commit or drop the overlay."""
        at = place_of(self._dir_path, volume.vid)
        with naming(volume.vid):
            self.settle(at, volume)

    def settle(self, at: VolumePlace, volume: VolumeSpec) -> None:
        """End what came before: commit or drop what a guest ran on."""
        files.remove_file(at.raw)
        on = self._ledger.find_overlay(volume.vid)
        if on is None:
            return
        overlay = at.overlay(on)
        if volume.save_on_stop and overlay.exists():
            with self._ledger.borrowed(volume.vid) as pointer:
                if not self._is_committed(overlay, volume.vid, pointer):
                    self._commit(at, volume, on, pointer)
        files.remove_file(overlay)
        self._ledger.drop_overlay(volume.vid, lambda: files.sync_directory(at.directory))

    def _is_committed(self, overlay: Path, vid: str, pointer: Pointer | None) -> bool:
        """Say whether the switch was done already, and only the end of it wasn't."""
        chain = self._ledger.chain(vid, pointer.content.layer) if pointer else []
        return bool(chain) and overlay.samefile(self._layers.path(chain[0]))

    def _commit(
        self, at: VolumePlace, volume: VolumeSpec, on: int, pointer: Pointer | None
    ) -> None:
        """Make the overlay a layer, and that the committed one; but for one that was only read."""
        overlay = at.overlay(on)
        files.take_back(overlay)
        # What it is on may have been merged while the guest ran: that has another number now.
        same = pointer is not None and pointer.is_on(on)
        below = pointer.content.layer if pointer is not None and same else on
        header = self._read_overlay(volume.vid, overlay, {on, below})
        if volume.rw or image.has_own_data(overlay, header):
            if below != NOTHING:
                name = self._ledger.chain(volume.vid, below)[0].name
                image.rename_backing(overlay, header, name)
            with self._layers.added(overlay, below, "qcow2") as number:
                commit(self._layers, at, volume, content_of(number, header.size_bytes))
        elif pointer is None or not same or header.size_bytes != pointer.content.size_bytes:
            commit(self._layers, at, volume, content_of(below, header.size_bytes))

    def _read_overlay(self, vid: str, overlay: Path, numbers: set[int]) -> image.Header:
        """Read the header, which must name one of these layers as what is below it."""
        try:
            header = image.read_header(overlay)
        except image.BadImageError as error:
            raise _unfit(vid, overlay, str(error)) from error
        name = header.backing.removeprefix(from_overlay(""))
        layer = parse_layer(name)
        if layer is None:
            fits = not name and NOTHING in numbers
        else:
            fits = layer.number in numbers and layer.format == header.backing_format
        if not fits:
            raise _unfit(vid, overlay, "it names another file as what is below it")
        return header

    def resize(self, volume: VolumeSpec, size_bytes: int) -> None:
        """Note the size: overlays are made with it, and read as zeros beyond what is below."""
        at = place_of(self._dir_path, volume.vid)
        if not volume.save_on_stop:
            return  # made anew, with its size, at each start
        with naming(volume.vid):
            self.settle(at, volume)

            def grow(now: Pointer | None) -> Pointer:
                if now is None:
                    raise StorageError(volume.vid, NEVER_CREATED)
                return now.grow(size_bytes)

            self._layers.change(volume.vid, at.pointer, grow)

    def tidy(self, volume: VolumeSpec) -> None:
        """Merge the layers if they are many. A guest may run on them meanwhile."""
        at = place_of(self._dir_path, volume.vid)
        if volume.save_on_stop and self._ledger.is_complete:
            merge(self._layers, volume.vid, at.pointer, _MOST_LAYERS)


def _unfit(vid: str, overlay: Path, why: str) -> StorageError:
    said = f"what its guest wrote is kept as {overlay.name}, but can't be used: {why}"
    return StorageError(vid, said)


def content_of(layer: int, size_bytes: int) -> Content:
    """Return a content that is committed now."""
    return Content(layer=layer, size_bytes=size_bytes, time_s=time.time())


def commit(layers: Layers, at: VolumePlace, volume: VolumeSpec, content: Content) -> None:
    """Make a content the committed one. Its layer is held."""

    def switch(now: Pointer | None) -> Pointer:
        if now is None:
            return Pointer(content=content)
        return now.commit(content, volume.revisions_to_keep)

    layers.change(volume.vid, at.pointer, switch)
