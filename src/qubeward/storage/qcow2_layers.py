"""Layers and pointers on disk, kept in step with the ledger.

A layer is a file that got a number; from then on it is never written to. Its maker's name for it
stays until a pointer names the number, so that a crash in between loses nothing: the number, which
nobody names, is deleted when the pool is opened again, and the file is there by the other name.
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from ..host import files
from .qcow2_layout import LAYERS, Format, Layer
from .qcow2_ledger import Ledger
from .qcow2_pointer import Pointer, format_pointer

log = logging.getLogger(__name__)

Change = Callable[[Pointer | None], Pointer | None]

_LOCKS: Final = 64


class Layers:
    """The layers of one pool, and the ledger of who names them. Blocking: for threads."""

    def __init__(self, dir_path: Path) -> None:
        self.directory = dir_path / LAYERS
        self.ledger = Ledger(self._delete)
        # A volume's own calls are in order, but its layers may be merged meanwhile.
        self._changing = [threading.Lock() for _ in range(_LOCKS)]
        self._merging = [threading.Lock() for _ in range(_LOCKS)]

    def path(self, layer: Layer) -> Path:
        """Return the layer's file."""
        return self.directory / layer.name

    def half_made(self) -> Path:
        """Return a path for what may become a layer. A crash leaves it to be swept away."""
        return self.directory / f"{self.ledger.next_number()}.new"

    def merging(self, vid: str) -> threading.Lock:
        """Return what is held by who merges a volume's layers, so that it isn't done twice."""
        return self._merging[hash(vid) % _LOCKS]

    @contextlib.contextmanager
    def added(self, path: Path, on: int, image_format: Format) -> Iterator[int]:
        """Make the file a layer, durably; it is deleted after the block if nobody names it.

        The file stays by its own name, too; it may not be written to any more. The caller holds
        the layer `on`.
        """
        layer = Layer(self.ledger.next_number(), on, image_format)
        files.sync_file(path)
        self.path(layer).hardlink_to(path)
        self.ledger.add(layer)
        try:
            files.sync_directory(self.directory)
            yield layer.number
        finally:
            self.ledger.release(layer.number)

    def change(self, vid: str, path: Path, change: Change) -> Pointer | None:
        """Replace a volume's pointer, durably, and return the new one.

        The caller holds the layers that are new in it. What isn't changed is not written.
        """
        with self._changing[hash(vid) % _LOCKS]:
            old = self.ledger.find(vid)
            new = change(old)
            if new is None or new == old:
                return new
            content = format_pointer(new)
            self.ledger.hold(*new.layers)
            try:
                files.replace_file(path, content)
            except OSError:
                # Failing after the switch, it may have done it or not: then both must stay whole.
                if not _is_written(path, content):
                    files.remove_file(path.with_name(f"{path.name}.new"))
                    self.ledger.release(*new.layers)
                raise
            self.ledger.put(vid, new)
            self.ledger.release(*new.layers)
            return new

    def remove(self, vid: str, path: Path) -> None:
        """Remove a volume's pointer, durably. No error if it isn't there."""
        with self._changing[hash(vid) % _LOCKS]:
            if files.remove_file(path):
                files.sync_directory(path.parent)
            self.ledger.put(vid, None)

    def _delete(self, doomed: Sequence[Layer]) -> None:
        for layer in doomed:
            try:
                files.remove_file(self.path(layer))
            except OSError as error:  # it is tried again when the pool is opened
                log.warning("layer %s can't be deleted: %s", layer.name, error)


def _is_written(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content
    except FileNotFoundError:
        return False
