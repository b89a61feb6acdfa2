"""Who names which layer, so that one which nobody names is deleted, and no other.

Names come from the volumes' pointers (the committed layer and the revisions'), from the overlays
that guests run on, from the layers themselves (the one below), and from calls under way, which hold
a layer while they use it. All is in memory; what is on disk was read when the pool was opened. A
caller writes to the disk first what is new, tells it here, and then takes away what is old.

If not all could be read, nothing is deleted: what can't be read may name anything.
"""

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from ..errors import StorageError
from .qcow2_layout import NOTHING, Layer
from .qcow2_pointer import Pointer


class Ledger:
    """The names in one pool. Any thread may call. `delete` is given layers that nobody names."""

    def __init__(self, delete: Callable[[Sequence[Layer]], None]) -> None:
        self._delete = delete
        self._lock = threading.Lock()
        self._is_open = False
        self._is_complete = False
        self._pointers: dict[str, Pointer] = {}
        self._broken: dict[str, str] = {}
        self._overlays: dict[str, int] = {}
        self._layers: dict[int, Layer] = {}
        self._named: Counter[int] = Counter()
        self._next = 1

    # The pool.

    @property
    def is_open(self) -> bool:
        """Say whether it knows its pool."""
        return self._is_open

    @property
    def is_complete(self) -> bool:
        """Say whether all was read, so that what nobody names may be deleted."""
        return self._is_complete

    def open(
        self,
        pointers: Mapping[str, Pointer],
        broken: Mapping[str, str],
        overlays: Mapping[str, int],
        layers: Iterable[Layer],
    ) -> Sequence[int]:
        """Begin with what was read; return the layers that are named and aren't there.

        `broken` are volumes of which something can't be read, with what it is. Unless there are
        any, or a layer is missing, what nobody names is deleted.
        """
        named = Counter(n for pointer in pointers.values() for n in pointer.layers)
        named.update(overlays.values())
        del named[NOTHING]
        merged = (n for pointer in pointers.values() for n in pointer.merged)
        found = {layer.number: layer for layer in layers}
        missing = []
        left, needed = list(named), set(named)
        while left:
            number = left.pop()
            layer = found.get(number)
            if layer is None:
                missing.append(number)
            elif layer.on != NOTHING:
                named[layer.on] += 1
                left += [] if layer.on in needed else [layer.on]
                needed.add(layer.on)
        orphans = [layer for number, layer in found.items() if number not in needed]
        with self._lock:
            self._pointers, self._broken = dict(pointers), dict(broken)
            self._overlays, self._layers, self._named = dict(overlays), found, named
            self._next = max((0, *found, *named, *merged)) + 1
            self._is_complete = not missing and not broken
            self._is_open = True
        if self._is_complete:
            self._delete(sorted(orphans, key=lambda layer: -layer.number))
        return sorted(missing)

    def close(self) -> None:
        """Forget everything."""
        self._is_open = False

    # Pointers.

    def find(self, vid: str) -> Pointer | None:
        """Return what is committed of a volume, None if it isn't there.

        Raises `StorageError` if that can't be read.
        """
        with self._lock:
            return self._find(vid)

    def _find(self, vid: str) -> Pointer | None:
        self._require_open(vid)
        if vid in self._broken:
            raise StorageError(vid, self._broken[vid])
        return self._pointers.get(vid)

    def put(self, vid: str, pointer: Pointer | None) -> None:
        """Take over what was written for a volume. The layers that it names are held."""
        with self._lock:
            old = self._pointers.pop(vid, None)
            self._broken.pop(vid, None)
            if pointer is not None:
                self._pointers[vid] = pointer
                self._name(pointer.layers)
        if old is not None:
            self.release(*old.layers)

    @contextlib.contextmanager
    def borrowed(self, vid: str) -> Iterator[Pointer | None]:
        """Return what is committed of a volume; its layer stays for as long as the block runs."""
        with self._lock:
            pointer = self._find(vid)
            if pointer is not None:
                self._name([pointer.content.layer])
        try:
            yield pointer
        finally:
            if pointer is not None:
                self.release(pointer.content.layer)

    # Overlays.

    def find_overlay(self, vid: str) -> int | None:
        """Return the layer below a volume's overlay, `NOTHING` below an empty one; else None."""
        with self._lock:
            self._require_open(vid)
            return self._overlays.get(vid)

    def put_overlay(self, vid: str, on: int) -> None:
        """Note that there is an overlay, or will be in a moment. The layer is held."""
        with self._lock:
            self._overlays[vid] = on
            self._name([on])

    def drop_overlay(self, vid: str, before: Callable[[], None] = lambda: None) -> None:
        """Note that there is none any more; `before` is called before its layer is deleted."""
        with self._lock:
            on = self._overlays.pop(vid, NOTHING)
        self._release([on], before)

    # Layers.

    def next_number(self) -> int:
        """Return the number of the next layer. None is given twice."""
        with self._lock:
            self._next += 1
            return self._next - 1

    def add(self, layer: Layer) -> None:
        """Note a new layer, and hold it. The one below is held already."""
        with self._lock:
            self._layers[layer.number] = layer
            self._name([layer.on, layer.number])

    def hold(self, *numbers: int) -> None:
        """Name layers that somebody else names, too."""
        with self._lock:
            self._name(numbers)

    def release(self, *numbers: int) -> None:
        """Undo `hold` or `add`."""
        self._release(numbers, lambda: None)

    def chain(self, vid: str, number: int) -> list[Layer]:
        """Return a layer and all below it, top first. Raise `StorageError` if one is missing."""
        found = []
        with self._lock:
            while number != NOTHING:
                layer = self._layers.get(number)
                if layer is None:
                    raise StorageError(vid, f"layer {number} of its content is missing")
                found.append(layer)
                number = layer.on
        return found

    def _require_open(self, vid: str) -> None:
        if not self._is_open:
            raise StorageError(vid, "its pool is not open")

    def _name(self, numbers: Iterable[int]) -> None:
        self._named.update(number for number in numbers if number != NOTHING)

    def _release(self, numbers: Iterable[int], before: Callable[[], None]) -> None:
        doomed = []
        with self._lock:
            left = [number for number in numbers if number != NOTHING]
            while left:
                number = left.pop()
                self._named[number] -= 1
                if self._named[number] > 0:
                    continue
                del self._named[number]
                if self._is_complete and number in self._layers:
                    layer = self._layers.pop(number)
                    doomed.append(layer)
                    left += [layer.on] if layer.on else []
        if doomed:
            before()
            self._delete(doomed)
