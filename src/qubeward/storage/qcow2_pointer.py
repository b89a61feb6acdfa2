"""What is committed of a volume: a small file, replaced whole; to replace it is to commit.

All here is values. Each function that changes one returns the next, and keeps the contract's rules
of revisions (`driver.py`).
"""

import itertools
import json
import math
from dataclasses import dataclass, replace
from typing import Final, NoReturn

from ..errors import StorageError
from .driver import Revision
from .qcow2_layout import NOTHING

_VERSION: Final = 1
_MOST: Final = 1 << 63


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A layer with all below it, or `NOTHING`; cut off or filled up with zeros to the size."""

    layer: int
    size_bytes: int
    time_s: float

    def equals(self, other: "Content") -> bool:
        """Say whether both are the same, whenever they were committed."""
        return (self.layer, self.size_bytes) == (other.layer, other.size_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A revision: a content of before, and its number."""

    number: int
    content: Content

    @property
    def revision(self) -> Revision:
        """Return it as the contract has it."""
        return Revision(id=str(self.number), time_s=self.content.time_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointer:
    """What is committed of a volume, and what was before, oldest first.

    `merged` are layers that had just the content of the present one, before they were merged into
    it: a guest may run on one of them still.
    """

    content: Content
    kept: tuple[Kept, ...] = ()
    last_revision: int = 0
    merged: tuple[int, ...] = ()

    @property
    def layers(self) -> frozenset[int]:
        """Return the layers that it names."""
        return frozenset({self.content.layer, *(kept.content.layer for kept in self.kept)})

    @property
    def is_empty(self) -> bool:
        """Say whether there is no data in it."""
        return self.layers == {NOTHING}

    def is_on(self, layer: int) -> bool:
        """Say whether a layer has what is committed, or had it before it was merged."""
        return layer == self.content.layer or layer in self.merged

    def commit(self, content: Content, revisions_to_keep: int) -> "Pointer":
        """Put a content in the place of the present one, which becomes a revision."""
        now = self
        if revisions_to_keep > 0 and not (self.kept and self.kept[-1].content.equals(self.content)):
            now = self.snapshot()
        kept = now.kept[max(0, len(now.kept) - max(0, revisions_to_keep)) :]
        return replace(now, content=content, kept=kept, merged=())

    def snapshot(self) -> "Pointer":
        """Add the content to the revisions."""
        number = self.last_revision + 1
        kept = (*self.kept, Kept(number=number, content=self.content))
        return replace(self, kept=kept, last_revision=number)

    def find(self, revision: str) -> Content | None:
        """Return a revision's content, or None."""
        found = (kept.content for kept in self.kept if kept.revision.id == revision)
        return next(found, None)

    def grow(self, size_bytes: int) -> "Pointer":
        """Let the content have at least this size."""
        larger = max(size_bytes, self.content.size_bytes)
        return replace(self, content=replace(self.content, size_bytes=larger))

    def merge(self, old: int, new: int) -> "Pointer":
        """Name a layer instead of one with the same content, if that is the committed one."""
        if self.content.layer != old:
            return self
        kept = tuple(
            replace(kept, content=replace(kept.content, layer=new))
            if kept.content.layer == old
            else kept
            for kept in self.kept
        )
        content = replace(self.content, layer=new)
        return replace(self, content=content, kept=kept, merged=(*self.merged, old))


def format_pointer(pointer: Pointer) -> bytes:
    """Return the pointer as its file has it."""
    text = json.dumps(
        {
            "version": _VERSION,
            **_format_content(pointer.content),
            "merged": list(pointer.merged),
            "last_revision": pointer.last_revision,
            "revisions": [
                {"id": kept.number, **_format_content(kept.content)} for kept in pointer.kept
            ],
        },
        indent=1,
    )
    return text.encode("ascii") + b"\n"


def _format_content(content: Content) -> dict[str, object]:
    return {
        "layer": content.layer or None,
        "size_bytes": content.size_bytes,
        "time_s": content.time_s,
    }


def parse_pointer(vid: str, data: bytes) -> Pointer:
    """Parse the pointer's file, or raise `StorageError`."""
    try:
        found: object = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise StorageError(vid, "what says where its content is can't be read") from error
    fields = _Fields(vid, found)
    if fields.number("version") != _VERSION:
        raise StorageError(vid, "it was written by another version of qubeward")
    kept = tuple(
        Kept(number=one.number("id", least=1), content=one.content())
        for one in (_Fields(vid, each) for each in fields.array("revisions"))
    )
    last = fields.number("last_revision")
    numbers = [0, *(each.number for each in kept), last + 1]
    if any(one >= other for one, other in itertools.pairwise(numbers)):
        fields.fail("revisions")
    merged = tuple(fields.as_number("merged", each, 1) for each in fields.array("merged"))
    return Pointer(content=fields.content(), kept=kept, last_revision=last, merged=merged)


class _Fields:
    """An object of a file, whose fields are of the types that they are asked for."""

    def __init__(self, vid: str, found: object) -> None:
        self._vid = vid
        self._found = found

    def fail(self, name: str) -> NoReturn:
        raise StorageError(self._vid, f"what says where its content is has a wrong {name!r}")

    def _take(self, name: str) -> object:
        if not isinstance(self._found, dict) or name not in self._found:
            self.fail(name)
        taken: object = self._found[name]
        return taken

    def number(self, name: str, least: int = 0) -> int:
        return self.as_number(name, self._take(name), least)

    def as_number(self, name: str, value: object, least: int) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value < _MOST:
            self.fail(name)
        return value

    def array(self, name: str) -> list[object]:
        taken = self._take(name)
        if not isinstance(taken, list):
            self.fail(name)
        return list(taken)

    def content(self) -> Content:
        layer = self._take("layer")
        return Content(
            layer=NOTHING if layer is None else self.as_number("layer", layer, 1),
            size_bytes=self.number("size_bytes"),
            time_s=self._time_s(),
        )

    def _time_s(self) -> float:
        value = self._take("time_s")
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _MOST:
            return float(value)
        if not isinstance(value, float) or not math.isfinite(value):
            self.fail("time_s")
        return value
