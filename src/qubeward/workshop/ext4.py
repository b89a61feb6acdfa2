"""Images of ext4 made from a folder, without mounting anything."""

import os
from pathlib import Path

from .programs import call

_MIB = 1 << 20
_PER_FILE_BYTES = 4096 + 256


# Unpacked and made into an image by one fakeroot: owners and devices live in it alone.
_UNPACK_AND_MAKE = """
tar --extract --preserve-permissions --numeric-owner --file "$1" --directory "$2" || exit
shift 2
exec mke2fs "$@"
"""


def make_image(
    image: Path, folder: Path, *, size_mib: int, label: str, journal: bool = True
) -> None:
    """Make a sparse ext4 image of what is in `folder`; where a user builds it, all is root's."""
    _call_as_root("mke2fs", *_words(image, folder, size_mib, label, journal=journal))


def make_image_of_tar(image: Path, tar: Path, folder: Path, *, size_mib: int, label: str) -> None:
    """Make a sparse ext4 image of what is in `tar`, which is unpacked in the empty `folder`."""
    words = _words(image, folder, size_mib, label, journal=True)
    _call_as_root("sh", "-c", _UNPACK_AND_MAKE, "sh", tar, folder, *words)


def size_for(folder: Path) -> int:
    """Return the MiB that an image of the folder needs, with a little room."""
    used = 0
    for path in folder.rglob("*"):
        used += _PER_FILE_BYTES
        if path.is_file() and not path.is_symlink():
            used += path.stat().st_size
    return used * 105 // 100 // _MIB + 4


def _words(
    image: Path, folder: Path, size_mib: int, label: str, *, journal: bool
) -> tuple[str | Path, ...]:
    features = "has_journal" if journal else "^has_journal"
    return (
        *("-q", "-F", "-t", "ext4", "-m", "0", "-b", "4096", "-L", label, "-O", features),
        # Not lazily: the guest would write the tables, and its overlay hold them.
        *("-E", "root_owner=0:0,lazy_itable_init=0"),
        *("-d", folder, image, f"{size_mib}M"),
    )


def _call_as_root(program: str, *words: str | Path) -> None:
    if os.geteuid() == 0:
        call(program, *words, timeout_s=600)
    else:
        # To a normal user's mke2fs the files would be the user's; under fakeroot they are root's.
        call("fakeroot", "--", program, *words, timeout_s=600)
