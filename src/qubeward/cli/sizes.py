"""Sizes as people write and read them: `10G`, `512MiB`, `1.5 GiB`."""

import re
from typing import Any, Final

import click

_UNITS: Final = ("", "K", "M", "G", "T", "P", "E")
_SIZE: Final = re.compile(
    r"(?P<more>\+?)(?P<number>[0-9]+(\.[0-9]+)?) ?(?P<unit>[KMGTPE]?)(iB|i|B)?", re.IGNORECASE
)
_LARGEST: Final = (1 << 63) - 1


def parse_size(text: str) -> tuple[bool, int]:
    """Return the bytes that a text means, and whether they are to be added; raise `ValueError`.

    Units are powers of 1024, whether `K`, `Ki` or `KiB`.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError("a size is a number and a unit: 10G, 512MiB, 1048576")
    exact = float(match["number"]) * 1024 ** _UNITS.index(match["unit"].upper())
    whole = int(match["number"]) if match["number"].isdigit() else None
    size = int(exact) if whole is None else whole * 1024 ** _UNITS.index(match["unit"].upper())
    if size > _LARGEST:
        raise ValueError("larger than any volume can be")
    return bool(match["more"]), size


def size_text(size_bytes: int) -> str:
    """Return a size for people: three digits or so, with the largest unit that fits."""
    size, unit = float(size_bytes), _UNITS[0]
    for unit in _UNITS:  # the last one stays
        if size < 1024 or unit == _UNITS[-1]:
            break
        size /= 1024
    if not unit:
        return f"{size_bytes} B"
    return f"{size:.0f} {unit}iB" if size >= 100 else f"{size:.3g} {unit}iB"


class Size(click.ParamType):  # type: ignore[type-arg]  # generic in newer releases only
    """A size; with `may_add`, `+SIZE` too."""

    name = "size"

    def __init__(self, *, may_add: bool = False) -> None:
        self._may_add = may_add

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[bool, int]:
        """Parse the word: whether it is to be added, and the bytes."""
        if isinstance(value, tuple):
            return value
        try:
            more, size = parse_size(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if more and not self._may_add:
            self.fail("a plain size is wanted", param, ctx)
        return more, size
