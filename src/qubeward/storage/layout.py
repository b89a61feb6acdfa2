"""Where file drivers keep a volume: from its vid to its files, and back.

A vid is `appvms/NAME/VOLUME` or `vm-templates/NAME/VOLUME`. Below the pool's directory:

| file                  | what                                                             |
|-----------------------|------------------------------------------------------------------|
| `VID.img`             | the committed volume                                             |
| `VID.img.N@TIME`      | revision N, committed at TIME (`2026-01-31T12:00:00Z`)           |
| `VID-dirty.img`       | what a guest runs on                                             |
| `VID-dirty.img.of`    | which content of its source a snapshot began as                  |
| `VID-import.img`      | what an import fills                                             |
| `VID-*.img.new`       | a copy in the making; worthless after a crash                    |
| `VID.record`          | what `Driver.keep_record` was given                              |

VOLUME has no `-` and no `.`, so no volume's file can be taken for another's.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..errors import StorageError

TEMPLATES: Final = "vm-templates"
QUBES: Final = "appvms"
VID_ROOTS: Final = (QUBES, TEMPLATES)

_NAME: Final = r"[A-Za-z][A-Za-z0-9_.-]{0,63}"
_VOLUME: Final = r"[A-Za-z][A-Za-z0-9_]{0,63}"
_VID: Final = re.compile(
    rf"(?P<root>{'|'.join(VID_ROOTS)})/(?P<name>{_NAME})/(?P<volume>{_VOLUME})"
)
_FILE: Final = re.compile(
    rf"(?P<volume>{_VOLUME})(-(dirty|import)(?=\.img))?\.(img|record)(\..*)?", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class VolumeFiles:
    """The files of one volume. Made by `parse_vid` alone, so never outside the pool."""

    directory: Path
    volume: str

    @property
    def committed(self) -> Path:
        """The volume as of the last commit."""
        return self.directory / f"{self.volume}.img"

    @property
    def dirty(self) -> Path:
        """What a guest runs on."""
        return self.directory / f"{self.volume}-dirty.img"

    @property
    def dirty_new(self) -> Path:
        """A working copy that is not whole yet."""
        return self.directory / f"{self.volume}-dirty.img.new"

    @property
    def dirty_of(self) -> Path:
        """Which content of its source a started snapshot began as."""
        return self.directory / f"{self.volume}-dirty.img.of"

    @property
    def imported(self) -> Path:
        """What an import fills."""
        return self.directory / f"{self.volume}-import.img"

    @property
    def imported_new(self) -> Path:
        """A copy for an import that is not whole yet."""
        return self.directory / f"{self.volume}-import.img.new"

    @property
    def record(self) -> Path:
        """What is kept beside the volume for who has lost the store."""
        return self.directory / f"{self.volume}.record"

    @property
    def by_worth(self) -> tuple[Path, ...]:
        """All of them but revisions, what is easiest to lose first."""
        return (
            self.dirty_new,
            self.dirty_of,
            self.imported_new,
            self.imported,
            self.dirty,
            self.record,
            self.committed,
        )


def parse_vid(dir_path: Path, vid: str) -> VolumeFiles:
    """Return the volume's files below `dir_path`, or raise `StorageError`."""
    match = _VID.fullmatch(vid)
    if match is None:
        raise StorageError(f"volume id {vid!r}", "it is not appvms/NAME/VOLUME or vm-templates/…")
    return VolumeFiles(dir_path / match["root"] / match["name"], match["volume"])


def make_vid(name: str, volume: str, *, template: bool) -> str:
    """Return the vid of a qube's volume."""
    return f"{TEMPLATES if template else QUBES}/{name}/{volume}"


def load_vids(dir_path: Path) -> Iterator[str]:
    """List the vids that have any file, each once. What is not a volume's file is passed over."""
    for root in VID_ROOTS:
        for directory in _entries(dir_path / root):
            if re.fullmatch(_NAME, directory.name) is None or not directory.is_dir():
                continue
            matches = (_FILE.fullmatch(entry.name) for entry in _entries(directory))
            for volume in sorted({match["volume"] for match in matches if match}):
                yield f"{root}/{directory.name}/{volume}"


def _entries(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except FileNotFoundError:  # removed meanwhile, or never made
        return []
