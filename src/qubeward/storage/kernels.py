"""The `linux-kernel` driver: directories of kernels, whose modules images guests read.

Below the pool's directory, `VERSION/vmlinuz` is the kernel, `VERSION/initramfs` its optional
initial file system, and `VERSION/modules.img` the volume: the vid is the version. Nothing here is
ever written; kernels come and go by packages. All guests of a version share one file, read-only.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..errors import StorageError
from ..host import files
from ..host.threads import Threads
from .driver import BlockImage, Capabilities, Usage, VolumeSpec
from .failures import naming
from .options import parse_directory

CAPABILITIES: Final = Capabilities(cheap_snapshots=True, keeps_revisions=False, read_only=True)

_VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,127}")
_THREADS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """What a direct kernel boot needs. The files exist, or are None."""

    version: str
    vmlinuz: Path
    initramfs: Path | None
    modules: Path | None


def is_kernel_version(text: str) -> bool:
    """Say whether this may be a version: one path component that names no other place."""
    return _VERSION.fullmatch(text) is not None


def load_kernel_versions(dir_path: Path) -> tuple[str, ...]:
    """List the versions that have a kernel or modules, oldest first by their numbers. Blocks."""
    try:
        entries = list(dir_path.iterdir())
    except FileNotFoundError:
        return ()
    wanted = (
        entry.name
        for entry in entries
        if is_kernel_version(entry.name)
        and ((entry / "vmlinuz").is_file() or (entry / "modules.img").is_file())
    )
    return tuple(sorted(wanted, key=_by_numbers))


def has_vmlinuz(dir_path: Path, version: str) -> bool:
    """Say whether a qube can boot this version. Blocks."""
    return is_kernel_version(version) and (dir_path / version / "vmlinuz").is_file()


def find_kernel(dir_path: Path, version: str) -> Kernel | None:
    """Return the files of a version, or None if it has no kernel. Blocks."""
    if not has_vmlinuz(dir_path, version):
        return None
    at = dir_path / version
    initramfs, modules = at / "initramfs", at / "modules.img"
    return Kernel(
        version=version,
        vmlinuz=at / "vmlinuz",
        initramfs=initramfs if initramfs.is_file() else None,
        modules=modules if modules.is_file() else None,
    )


def _by_numbers(version: str) -> list[tuple[int, str]]:
    return [
        (int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", version)
    ]


class KernelDriver:
    """A pool of kernels. To create, stop and remove a volume of it does nothing."""

    capabilities = CAPABILITIES

    def __init__(self, dir_path: Path) -> None:
        self._dir_path = dir_path
        self._threads = Threads("kernels", _THREADS)

    async def setup(self) -> None:
        """Make the directory, so that kernels can be put there."""
        await self._threads.run(self._setup)

    async def create(self, volume: VolumeSpec) -> None:
        """Do nothing: the version need not be there before a start."""

    async def remove(self, vid: str) -> None:
        """Do nothing: other qubes use the version."""

    async def start(self, volume: VolumeSpec) -> BlockImage:
        """Return the modules image, read-only; `StorageError` if the version has none."""
        path = self._modules(volume.vid)
        if await self._threads.run(self._find_size, volume.vid) is None:
            raise StorageError(f"kernel {volume.vid}", "it has no modules.img")
        return BlockImage(path=path, read_only=True)

    async def stop(self, volume: VolumeSpec) -> None:
        """Do nothing."""

    async def import_begin(self, volume: VolumeSpec, size_bytes: int) -> Path:
        """Refuse."""
        raise StorageError(f"kernel {volume.vid}", "the pool is read-only")

    async def import_end(self, volume: VolumeSpec, *, success: bool) -> None:
        """Refuse, but let go of what was never begun."""
        if success:
            raise StorageError(f"kernel {volume.vid}", "the pool is read-only")

    async def size_bytes(self, volume: VolumeSpec) -> int:
        """Return the image's size, or the planned one while there is none."""
        size_bytes = await self._threads.run(self._find_size, volume.vid)
        return volume.size_bytes if size_bytes is None else size_bytes

    async def usage_bytes(self, vid: str) -> int:
        """Return what the image takes on disk, 0 if there is none."""
        path = self._modules(vid)
        with naming(f"kernel {vid}"):
            return await self._threads.run(files.allocated_bytes, path)

    async def vids(self) -> Sequence[str]:
        """List the versions."""
        with naming(f"pool directory {self._dir_path}"):
            return await self._threads.run(load_kernel_versions, self._dir_path)

    async def usage(self) -> Usage | None:
        """Return None: the pool is no place to put things."""
        return None

    def _setup(self) -> None:
        with naming(f"pool directory {self._dir_path}"):
            files.make_directory(self._dir_path)

    def _modules(self, vid: str) -> Path:
        if not is_kernel_version(vid):
            raise StorageError(f"kernel {vid!r}", "it is not a version")
        return self._dir_path / vid / "modules.img"

    def _find_size(self, vid: str) -> int | None:
        with naming(f"kernel {vid}"):
            return files.find_size_bytes(self._modules(vid))


def open_kernels(options: Mapping[str, str]) -> KernelDriver:
    """Make the `linux-kernel` driver."""
    return KernelDriver(parse_directory(options["dir_path"]))
