"""A pool's directory: made, opened, swept and taken away again. Blocking: for threads."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ..errors import StorageError
from ..host import files
from .failures import naming
from .layout import VID_ROOTS
from .qcow2_layers import Layers
from .qcow2_layout import LAYERS, MARK, MARK_TEXT, Found, Layer, load_files, parse_layer
from .qcow2_pointer import Pointer, parse_pointer

log = logging.getLogger(__name__)

_DIRECTORIES: Final = (*VID_ROOTS, LAYERS)
_MOUNTED: Final = "is its file system mounted?"
_EXPORT: Final = "-export.raw"
_POINTER: Final = ".volume"


@dataclass(slots=True)
class _Scan:
    """What was found in a pool. `worthless` are files that a crash left half made."""

    pointers: dict[str, Pointer] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    overlays: dict[str, int] = field(default_factory=dict)
    layers: list[Layer] = field(default_factory=list)
    worthless: list[Path] = field(default_factory=list)


def setup(dir_path: Path, layers: Layers) -> None:
    """Make the directories, then the mark; and open the pool. Made before: nothing changes."""
    what = f"pool directory {dir_path}"
    with naming(what):
        for name in _DIRECTORIES:
            files.make_directory(dir_path / name)
        if not (dir_path / MARK).exists():
            files.replace_file(dir_path / MARK, MARK_TEXT)
    open_(dir_path, layers)


def open_(dir_path: Path, layers: Layers) -> None:
    """Read what is there, and sweep away what is worth nothing."""
    what = f"pool directory {dir_path}"
    check(dir_path)
    with naming(what):
        if layers.ledger.is_open:
            return
        scan = _read(dir_path)
        missing = layers.ledger.open(scan.pointers, scan.broken, scan.overlays, scan.layers)
    for vid, why in scan.broken.items():
        log.error("%s: %s", vid, why)
    if missing:
        log.error("%s: these layers are missing: %s", what, " ".join(map(str, missing)))
    if not layers.ledger.is_complete:
        log.error("%s: no layer is deleted until it is opened with nothing wrong", what)
    _sweep(scan.worthless)


def teardown(dir_path: Path, layers: Layers) -> None:
    """Remove the directories and the mark, if there is nothing in them; else leave all."""
    directories = [dir_path / name for name in _DIRECTORIES if (dir_path / name).exists()]
    with naming(f"pool directory {dir_path}"):
        if not any(True for directory in directories for _ in directory.iterdir()):
            if files.remove_file(dir_path / MARK):
                files.sync_directory(dir_path)
            for directory in (*directories, dir_path):
                files.remove_empty_directory(directory)
    layers.ledger.close()


def check(dir_path: Path) -> None:
    """Raise `StorageError` unless this is a pool that was set up, and is there."""
    what = f"pool directory {dir_path}"
    with naming(what):
        _check(what, dir_path)


def _check(what: str, dir_path: Path) -> None:
    if not dir_path.is_dir():
        raise StorageError(what, f"it is missing: {_MOUNTED}")
    try:
        text = (dir_path / MARK).read_bytes()
    except FileNotFoundError as error:
        why = f"it is not a pool that was set up (it has no {MARK}): {_MOUNTED}"
        raise StorageError(what, why) from error
    if text != MARK_TEXT:
        raise StorageError(what, f"it is a pool of another kind: its {MARK} says so")
    for name in _DIRECTORIES:
        if not (dir_path / name).is_dir():
            raise StorageError(what, f"its directory {name} is missing: {_MOUNTED}")


def _read(dir_path: Path) -> _Scan:
    scan = _Scan()
    for path in sorted((dir_path / LAYERS).iterdir()):
        layer = parse_layer(path.name)
        if layer is not None:
            scan.layers.append(layer)
        elif path.name.endswith(".new"):
            scan.worthless.append(path)
    for found in load_files(dir_path):
        if found.is_new or found.what == _EXPORT:
            scan.worthless.append(found.path)
        elif found.what == _POINTER:
            _read_pointer(scan, found)
        elif found.on is not None:
            if found.vid in scan.overlays:
                scan.broken[found.vid] = "there are two overlays with what a guest wrote"
            scan.overlays[found.vid] = found.on
    return scan


def _read_pointer(scan: _Scan, found: Found) -> None:
    try:
        scan.pointers[found.vid] = parse_pointer(found.vid, found.path.read_bytes())
    except StorageError as error:
        scan.broken[found.vid] = error.fields[-1]
    except OSError as error:
        scan.broken[found.vid] = f"what says where its content is: {error.strerror}"


def _sweep(worthless: Sequence[Path]) -> None:
    for path in worthless:
        try:
            files.remove_file(path)
        except OSError as error:  # it takes space, and is in nobody's way
            log.warning("%s can't be deleted: %s", path, error)
