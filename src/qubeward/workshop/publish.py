"""Outputs appear whole or not at all: built beside their place, then renamed into it."""

import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .programs import call

# Whatever the umask: QEMU runs as another user.
READABLE = 0o644
_STALE_AFTER_S = 24 * 3600


@contextmanager
def staging(parent: Path, name: str) -> Iterator[Path]:
    """Give a fresh folder on the file system of `parent`, gone at the end."""
    parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{name}."
    _sweep(parent, prefix)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        # mkdtemp's 0700 would be the mode of what is renamed out of here.
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def digest_of(*parts: bytes | str) -> str:
    """Name an output by all it is made from."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(b"%d:" % len(data) + data)
    return digest.hexdigest()[:16]


def publish_image(
    dest: Path, *, cache_dir: Path, name: str, key: str, make: Callable[[Path], None]
) -> None:
    """Put the image `name` of this key at `dest`; `make(path)` builds it where it is not cached."""
    images = cache_dir / "images"
    cached = images / f"{name}-{key}.img"
    if not cached.exists():
        with staging(images, cached.name) as folder:
            fresh = folder / "image"
            make(fresh)
            fresh.replace(cached)
        _drop_others(images, name, cached)
    with staging(dest.parent, dest.name) as folder:
        copy = folder / "image"
        call("cp", "--sparse=always", "--reflink=auto", cached, copy, timeout_s=600)
        copy.chmod(READABLE)
        copy.replace(dest)


def _drop_others(images: Path, name: str, kept: Path) -> None:
    for other in images.glob(f"{name}-*.img"):
        if other != kept:
            other.unlink(missing_ok=True)


def _sweep(parent: Path, prefix: str) -> None:
    """Remove what a killed build left; a younger folder may be a build that runs now."""
    for left in parent.glob(f"{prefix}*"):
        try:
            is_stale = time.time() - left.stat().st_mtime > _STALE_AFTER_S
        except FileNotFoundError:
            continue
        if is_stale:
            shutil.rmtree(left, ignore_errors=True)
