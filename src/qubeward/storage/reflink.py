"""The `file-reflink` driver: image files that share their blocks (btrfs, XFS, bcachefs).

A start clones with FICLONE: the same short time for a volume of any size, and no space until the
guest writes. Files and crash rules are those of `image_files.py`.
"""

import errno
import functools
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ..errors import StorageError
from ..host import files
from .driver import Capabilities
from .file import FileDriver
from .options import parse_boolean, parse_directory

log = logging.getLogger(__name__)

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
CAPABILITIES: Final = Capabilities(cheap_snapshots=True, keeps_records=True)

_ADVICE: Final = (
    "this file system can't share blocks between files (FICLONE is refused): put the pool on "
    "btrfs or XFS, use another driver, or allow full copies with reflink_fallback"
)


def open_reflink(options: Mapping[str, str]) -> FileDriver:
    """Make the `file-reflink` driver.

    `reflink_fallback` allows sparse copies where FICLONE is refused: correct, and slow for large
    volumes; `capabilities.cheap_snapshots` then is false after setup. Without it setup fails there.
    With `setup_check` off setup asks nothing, and it is the first start that fails.
    """
    fallback = parse_boolean(options.get("reflink_fallback", "False"))
    check = parse_boolean(options.get("setup_check", "True"))
    return FileDriver(
        parse_directory(options["dir_path"]),
        capabilities=CAPABILITIES,
        copy=_clone_or_copy if fallback else _clone,
        probe=functools.partial(probe_reflink, fallback=fallback) if check else lambda _: True,
    )


def probe_reflink(directory: Path, *, fallback: bool) -> bool:
    """Say whether clones are cheap there; raise `StorageError` if they are not and must be.

    A full disk can't tell: then they are taken to be, so that its volumes can be read and removed.
    """
    try:
        cheap = files.can_reflink(directory)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        log.warning("pool directory %s is full: clones are taken to be cheap there", directory)
        cheap = True
    if not cheap and not fallback:
        raise StorageError(f"pool directory {directory}", _ADVICE)
    return cheap


def _clone(source: Path, dest: Path) -> None:
    try:
        files.clone_file(source, dest)
    except files.CloneRefusedError as error:
        raise StorageError(f"clone of {source.name}", _ADVICE) from error


def _clone_or_copy(source: Path, dest: Path) -> None:
    try:
        files.clone_file(source, dest)
    except files.CloneRefusedError:
        files.copy_sparse(source, dest)
