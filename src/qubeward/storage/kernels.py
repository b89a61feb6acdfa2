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
from .driver import BlockImage, Capabilities, Revision, Usage, VolumeSpec
from .failures import naming
from .options import parse_directory

CAPABILITIES: Final = Capabilities(cheap_snapshots=True, most_revisions=0, read_only=True)

_VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,127}")
_THREADS: Final = 2
_READ_ONLY: Final = "the pool is read-only"


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

    @property
    def place(self) -> None:
        """Return nothing: others may read the directory too."""

    async def setup(self) -> None:
        """Make the directory, so that kernels can be put there."""
        await self._threads.run(self._setup)

    async def open(self) -> None:
        """Do as `setup`: a directory without kernels loses nobody anything."""
        await self.setup()

    async def teardown(self) -> None:
        """Remove the directory if it is empty."""
        with naming(f"pool directory {self._dir_path}"):
            await self._threads.run(files.remove_empty_directory, self._dir_path)

    async def close(self) -> None:
        """Let go of the threads."""
        self._threads.close()

    def vid(self, name: str, volume: str, *, template: bool) -> str:
        """Refuse: qubes have no volumes of their own here."""
        raise StorageError(f"volume {volume} of {name}", _READ_ONLY)

    async def create(self, volume: VolumeSpec) -> None:
        """Refuse what would have to be kept."""
        if volume.save_on_stop:
            raise StorageError(f"kernel {volume.vid}", _READ_ONLY)

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

    async def resize(self, volume: VolumeSpec, size_bytes: int, *, running: bool) -> None:
        """Refuse."""
        raise StorageError(f"kernel {volume.vid}", _READ_ONLY)

    async def tidy(self, volume: VolumeSpec) -> None:
        """Do nothing."""

    async def revisions(self, vid: str) -> Sequence[Revision]:
        """Return none."""
        return ()

    async def snapshot(self, volume: VolumeSpec) -> Revision:
        """Refuse."""
        raise StorageError(f"kernel {volume.vid}", _READ_ONLY)

    async def revert(self, volume: VolumeSpec, revision: str) -> None:
        """Refuse."""
        raise StorageError(f"kernel {volume.vid}", _READ_ONLY)

    async def import_begin(self, volume: VolumeSpec, size_bytes: int) -> Path:
        """Refuse."""
        raise StorageError(f"kernel {volume.vid}", _READ_ONLY)

    async def clone(self, volume: VolumeSpec, source: VolumeSpec) -> None:
        """Refuse."""
        raise StorageError(f"kernel {volume.vid}", _READ_ONLY)

    async def import_end(self, volume: VolumeSpec, *, success: bool) -> None:
        """Refuse, but let go of what was never begun."""
        if success:
            raise StorageError(f"kernel {volume.vid}", _READ_ONLY)

    async def export_begin(self, volume: VolumeSpec) -> Path:
        """Return the modules image."""
        return (await self.start(volume)).path

    async def export_end(self, volume: VolumeSpec) -> None:
        """Do nothing."""

    def path(self, volume: VolumeSpec) -> Path:
        """Return the modules image's path."""
        return self._modules(volume.vid)

    async def size_bytes(self, volume: VolumeSpec) -> int:
        """Return the image's size, or the planned one while there is none."""
        size_bytes = await self._threads.run(self._find_size, volume.vid)
        return volume.size_bytes if size_bytes is None else size_bytes

    async def usage_bytes(self, vid: str) -> int:
        """Return what the image takes on disk, 0 if there is none."""
        path = self._modules(vid)
        with naming(f"kernel {vid}"):
            return await self._threads.run(files.allocated_bytes, path)

    async def is_outdated(self, volume: VolumeSpec) -> bool:
        """Say no: a version never changes."""
        return False

    async def vids(self) -> Sequence[str]:
        """List the versions."""
        with naming(f"pool directory {self._dir_path}"):
            return await self._threads.run(load_kernel_versions, self._dir_path)

    async def usage(self) -> Usage | None:
        """Return None: the pool is no place to put things."""
        return None

    async def keep_record(self, vid: str, record: bytes) -> None:
        """Refuse."""
        raise StorageError(f"kernel {vid}", _READ_ONLY)

    async def records(self) -> Mapping[str, bytes]:
        """Return none."""
        return {}

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
