"""Labels: a name, a number and a color."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from ..names import LabelName
from ..spec.label import Color


@dataclass(frozen=True, slots=True)
class Label:
    """One label. `index` is its number, by which older clients name it."""

    name: LabelName
    index: int
    color: Color


_FIRST = (
    ("red", "0xcc0000"),
    ("orange", "0xf57900"),
    ("yellow", "0xedd400"),
    ("green", "0x73d216"),
    ("gray", "0x555555"),
    ("blue", "0x3465a4"),
    ("purple", "0x75507b"),
    ("black", "0x000000"),
)

#: What a fresh system has, and no call removes (ADMIN-API §1.2).
BUILT_IN: Final[Mapping[LabelName, Label]] = MappingProxyType(
    {
        LabelName(name): Label(LabelName(name), index, Color(color))
        for index, (name, color) in enumerate(_FIRST, start=1)
    }
)
