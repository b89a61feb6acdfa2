"""Names in LVM: of volume groups and thin pools, and of the logical volumes that make up a volume.

A vid is `VG/vm-NAME-VOLUME`. In the volume group:

| logical volume             | what                                                                |
|----------------------------|---------------------------------------------------------------------|
| `vm-NAME-VOLUME`           | the committed volume                                                |
| `vm-NAME-VOLUME-snap`      | what a guest runs on                                                |
| `vm-NAME-VOLUME-import`    | what an import fills                                                |
| `vm-NAME-VOLUME-new`       | a whole new content, about to be committed                          |
| `vm-NAME-VOLUME-EPOCH-back`| a revision: what was committed until EPOCH                          |
| `vm-NAME-VOLUME-EPOCH-old` | what was committed until EPOCH, is no revision, and goes            |

NAME may have a `-`. VOLUME has none and is none of the words at the end: so names parse from the
right.
"""

import re
from dataclasses import dataclass
from typing import Final

from ..errors import BadValueError, StorageError

_WORDS: Final = r"(?:snap|import|new|back|old)"
_NAME: Final = r"[A-Za-z][A-Za-z0-9_.-]{0,63}"
_VOLUME: Final = rf"(?!{_WORDS}(?![A-Za-z0-9_]))[A-Za-z][A-Za-z0-9_]{{0,63}}"
_BASE: Final = rf"vm-{_NAME}-{_VOLUME}"
_EPOCH: Final = r"[1-9][0-9]{0,17}"
_LV: Final = re.compile(rf"(?P<base>{_BASE})(?:-(?:snap|import|new|{_EPOCH}-(?:back|old)))?")
_COMMITTED: Final = re.compile(_BASE)
_PAST: Final = re.compile(rf"-(?P<epoch>{_EPOCH})-(?P<kind>back|old)")
# LVM allows a `+`, and a `.` or `_` in front, too; nothing here needs to.
_OF_LVM: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,126}")


@dataclass(frozen=True, slots=True, order=True)
class Past:
    """What was committed until `epoch_s`, and whether it is kept as a revision."""

    epoch_s: int
    is_kept: bool
    lv: str

    @property
    def revision(self) -> str:
        """The revision's id."""
        return f"{self.epoch_s}-back"


@dataclass(frozen=True, slots=True)
class VolumeLvs:
    """The logical volumes of one volume, by name. Made by `parse_vid` alone."""

    committed: str

    @property
    def snap(self) -> str:
        """What a guest runs on."""
        return f"{self.committed}-snap"

    @property
    def imported(self) -> str:
        """What an import fills."""
        return f"{self.committed}-import"

    @property
    def new(self) -> str:
        """A whole new content, about to be committed."""
        return f"{self.committed}-new"

    def past(self, epoch_s: int, *, is_kept: bool) -> str:
        """Return the name of what was committed until then."""
        return f"{self.committed}-{epoch_s}-{'back' if is_kept else 'old'}"

    def parse_past(self, lv: str) -> Past | None:
        """Return what `lv` was of this volume; None for any other name."""
        if not lv.startswith(self.committed):
            return None
        match = _PAST.fullmatch(lv, len(self.committed))
        return match and Past(int(match["epoch"]), match["kind"] == "back", lv)


def parse_vid(volume_group: str, vid: str) -> VolumeLvs:
    """Return the volume's names, or raise `StorageError`."""
    group, _, name = vid.partition("/")
    if group != volume_group or _COMMITTED.fullmatch(name) is None:
        raise StorageError(f"volume id {vid!r}", f"it is not {volume_group}/vm-NAME-VOLUME")
    return VolumeLvs(name)


def make_vid(volume_group: str, name: str, volume: str) -> str:
    """Return the vid of a qube's volume."""
    return f"{volume_group}/vm-{name}-{volume}"


def find_vid(volume_group: str, lv: str) -> str | None:
    """Return the vid of the volume that the logical volume is a part of; None if it is of none."""
    match = _LV.fullmatch(lv)
    return match and f"{volume_group}/{match['base']}"


def parse_volume_group(text: str) -> str:
    """Parse the name of a volume group."""
    return _parse("volume_group", text)


def parse_thin_pool(text: str) -> str:
    """Parse the name of a thin pool."""
    return _parse("thin_pool", text)


def _parse(what: str, text: str) -> str:
    if _OF_LVM.fullmatch(text) is None:
        raise BadValueError(what, "it must be letters, digits, '_', '.' and '-', at most 127")
    return text
