"""Parsers of pool options: text from the wire or the store to values, or `BadValueError`."""

from pathlib import Path
from typing import Final

from ..errors import BadValueError

_BOOLEANS: Final = {
    "true": True, "yes": True, "on": True, "1": True,
    "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip


def parse_directory(text: str) -> Path:
    """Parse an absolute path of the host."""
    if "\0" in text or not text.startswith("/") or ".." in text.split("/"):
        raise BadValueError("dir_path", "it must be an absolute path without '..'")
    return Path(text)


def parse_boolean(text: str) -> bool:
    """Parse a boolean as upstream's pools take it: True, yes, on, 1 and their opposites."""
    value = _BOOLEANS.get(text.lower())
    if value is None:
        raise BadValueError("boolean", "it must be True or False")
    return value


def parse_revisions(text: str) -> int:
    """Parse a number of revisions to keep; -1 means no snapshots at all."""
    if text != "-1" and not (text.isascii() and text.isdigit() and len(text) < 20):
        raise BadValueError("revisions_to_keep", "it must be a whole number from -1 on")
    return int(text)


def parse_percent(text: str) -> int:
    """Parse a percentage: 1 to 100."""
    if not (text.isascii() and text.isdigit() and len(text) < 4 and 0 < int(text) <= 100):
        raise BadValueError("percentage", "it must be a whole number from 1 to 100")
    return int(text)


def parse_mib(text: str) -> int:
    """Parse a number of MiB, 0 and more."""
    if not (text.isascii() and text.isdigit() and len(text) < 13):
        raise BadValueError("size", "it must be a whole number of MiB")
    return int(text)
