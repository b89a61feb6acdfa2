"""What a test needs to boot a real guest: built once, kept between runs, shared by all workers."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from qubeward.workshop.kernel import build_kernel
from qubeward.workshop.mini import build_mini

_REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class MiniImages:
    """The images. Never write to them: boot a copy, or an overlay, of `root`."""

    kernels_dir: Path
    version: str
    vmlinuz: Path
    initramfs: Path
    modules: Path
    root: Path


def cache_dir() -> Path:
    """Return where builds are kept: QUBEWARD_CACHE, else .cache in the repository."""
    return Path(os.environ.get("QUBEWARD_CACHE") or _REPOSITORY / ".cache")


@contextmanager
def build_lock() -> Iterator[None]:
    """Let one process build at a time."""
    cache_dir().mkdir(parents=True, exist_ok=True)
    with (cache_dir() / "tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build_mini_images() -> MiniImages:
    """Build the kernel and the mini root image, or find them in the cache."""
    kernels_dir = cache_dir() / "vm-kernels"
    root = cache_dir() / "mini-root.img"
    with build_lock():
        version = build_kernel(kernels_dir, cache_dir(), print)
        build_mini(root, cache_dir(), print)
    kernel = kernels_dir / version
    return MiniImages(
        kernels_dir=kernels_dir,
        version=version,
        vmlinuz=kernel / "vmlinuz",
        initramfs=kernel / "initramfs",
        modules=kernel / "modules.img",
        root=root,
    )


@pytest.fixture(scope="session")
def mini_images() -> MiniImages:
    return build_mini_images()
