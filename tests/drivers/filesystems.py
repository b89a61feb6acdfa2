"""File systems of loop images, for tests; needs root."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from qubeward.host.process import run

# mkfs.xfs refuses less than 300 MiB; the images are sparse.
SIZES_MIB = {"btrfs": 1024, "xfs": 320, "ext4": 16}
MKFS = {
    "btrfs": ("mkfs.btrfs", "-q"),
    "xfs": ("mkfs.xfs", "-q", "-m", "reflink=1"),
    "ext4": ("mkfs.ext4", "-q", "-O", "^has_journal", "-m", "0"),
}


@contextlib.contextmanager
def mounted(kind: str, directory: Path, size_mib: int | None = None) -> Iterator[Path]:
    """Mount a new file system of this kind below the directory; gone at the end, come what may."""
    if os.geteuid() != 0:
        pytest.skip("mounting a loop image needs root")
    if shutil.which(MKFS[kind][0]) is None:
        pytest.skip(f"{MKFS[kind][0]} is not installed")
    image, at = directory / f"{kind}.img", directory / kind
    at.mkdir()
    with image.open("wb") as file:
        file.truncate((size_mib or SIZES_MIB[kind]) << 20)
    run([*MKFS[kind], str(image)], timeout_s=30)
    # The loop device frees itself when it is unmounted.
    run(["mount", "-o", "loop", str(image), str(at)], timeout_s=30)
    try:
        yield at
    finally:
        run(["umount", "-l", str(at)], timeout_s=30)
        image.unlink()
