"""Where the qcow2 driver keeps a volume, and what its files' names say.

A vid is that of the file drivers (`layout.py`). Below the pool's directory:

| file                       | what                                                            |
|----------------------------|-----------------------------------------------------------------|
| `VID.volume`               | the pointer: the committed layer, size and revisions            |
| `VID-dirty-on-N.qcow2`     | the overlay that a guest runs on; layer N is below it, or none  |
| `VID-dirty.raw`            | what a guest runs on, of a volatile volume                      |
| `VID-import.raw`           | what an import fills                                            |
| `VID-export.raw`           | what an export reads, where no layer will do                    |
| `VID.record`               | what `Driver.keep_record` was given                             |
| `layers/N.raw`, `.qcow2`   | layer N, with nothing below it                                  |
| `layers/N-on-M.qcow2`      | layer N; layer M is below it                                    |
| `.qubeward-pool`           | the mark of a pool that was set up                              |
| all of these with `.new`   | in the making; worthless after a crash                          |

What is below a layer is in its name, so that who names which is known without reading a layer. An
overlay's is in its name because its header is not to be trusted: QEMU may write to that.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from .layout import VID_ROOTS, parse_vid

LAYERS: Final = "layers"
MARK: Final = ".qubeward-pool"
MARK_TEXT: Final = b"qubeward qcow2 pool, version 1\n"
#: The number that stands for no layer: empty.
NOTHING: Final = 0

Format = Literal["raw", "qcow2"]

_NUMBER: Final = r"[1-9][0-9]{0,17}"
_VOLUME: Final = r"[A-Za-z][A-Za-z0-9_]{0,63}"
_QUBE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_FILE: Final = re.compile(
    rf"(?P<volume>{_VOLUME})"
    rf"(?P<what>\.volume|\.record|-(dirty|import|export)\.raw|-dirty-on-(?P<on>0|{_NUMBER})\.qcow2)"
    r"(?P<new>\.new)?"
)
_LAYER: Final = re.compile(rf"(?P<number>{_NUMBER})(-on-(?P<on>{_NUMBER})(?!\.raw))?\.(raw|qcow2)")


@dataclass(frozen=True, slots=True)
class Layer:
    """A file that never changes: part of a content, the rest of which is in the layer below."""

    number: int
    on: int
    format: Format

    @property
    def name(self) -> str:
        """Return the file's name. A layer names the one below it by just this."""
        below = f"-on-{self.on}" if self.on else ""
        return f"{self.number}{below}.{self.format}"


@dataclass(frozen=True, slots=True)
class VolumePlace:
    """The files of one volume. Made by `place_of` alone, so never outside the pool."""

    directory: Path
    volume: str

    @property
    def pointer(self) -> Path:
        """What is committed."""
        return self.directory / f"{self.volume}.volume"

    @property
    def raw(self) -> Path:
        """What a guest runs on, of a volatile volume."""
        return self.directory / f"{self.volume}-dirty.raw"

    @property
    def imported(self) -> Path:
        """What an import fills."""
        return self.directory / f"{self.volume}-import.raw"

    @property
    def exported(self) -> Path:
        """What was made for an export."""
        return self.directory / f"{self.volume}-export.raw"

    @property
    def record(self) -> Path:
        """What is kept beside the volume for who has lost the store."""
        return self.directory / f"{self.volume}.record"

    def overlay(self, on: int) -> Path:
        """Return what a guest runs on, with this layer below it."""
        return self.directory / f"{self.volume}-dirty-on-{on}.qcow2"

    def load_all(self) -> list[Path]:
        """List all files of the volume, the half-made ones too."""
        return [found.path for found in _load_files(self.directory) if found.volume == self.volume]


@dataclass(frozen=True, slots=True)
class Found:
    """A file of a volume's. `what` is the end of its name; `on` an overlay's layer, else None."""

    vid: str
    volume: str
    path: Path
    what: str
    on: int | None
    is_new: bool


def place_of(dir_path: Path, vid: str) -> VolumePlace:
    """Return where the volume's files are, or raise `StorageError`."""
    at = parse_vid(dir_path, vid)
    return VolumePlace(at.directory, at.volume)


def parse_layer(name: str) -> Layer | None:
    """Return the layer that a file name stands for; None for a name that is no layer's."""
    match = _LAYER.fullmatch(name)
    if match is None:
        return None
    image_format: Format = "raw" if name.endswith(".raw") else "qcow2"
    return Layer(int(match["number"]), int(match["on"] or NOTHING), image_format)


def from_overlay(name: str) -> str:
    """Return how an overlay in its qube's directory names something in that of the layers."""
    return f"../../{LAYERS}/{name}"


def load_files(dir_path: Path) -> Iterator[Found]:
    """List the files of all volumes. What is not a volume's file is passed over."""
    for root in VID_ROOTS:
        for name in sorted(_names(dir_path / root)):
            directory = dir_path / root / name
            if _QUBE.fullmatch(name) and directory.is_dir():
                yield from _load_files(directory)


def _load_files(directory: Path) -> Iterator[Found]:
    for name in sorted(_names(directory)):
        match = _FILE.fullmatch(name)
        if match is not None:
            yield Found(
                vid=f"{directory.parent.name}/{directory.name}/{match['volume']}",
                volume=match["volume"],
                path=directory / name,
                what=match["what"],
                on=None if match["on"] is None else int(match["on"]),
                is_new=match["new"] is not None,
            )


def _names(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)  # noqa: PTH208  # a tenth of the time of Path.iterdir
    except FileNotFoundError:  # removed meanwhile, or never made
        return []
