"""Pools of every driver, each on the file system that it is for.

`QUBEWARD_TEST_POOLS` (words) restricts the kinds: inside a guest that has LVM, say. `lvm_thin` then
finds its place in `QUBEWARD_TEST_LVM` (`VG/POOL`), `zfs` in `QUBEWARD_TEST_ZFS` (a dataset).
"""

import os
import re
import subprocess  # a test may
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from drivers.filesystems import mounted
from qubeward.storage.driver import BlockImage, Driver, VolumeSpec
from qubeward.storage.drivers import open_driver
from qubeward.storage.memory import MemoryDriver

#: Those that any machine can run.
HERE = ("memory", "file", "reflink-fallback", "reflink-btrfs", "reflink-xfs", "qcow2")
#: Those that are only run where the environment names their place.
ELSEWHERE = ("lvm_thin", "zfs")
POOLS = tuple(os.environ.get("QUBEWARD_TEST_POOLS", " ".join(HERE)).split())
MIB = 1 << 20

if "memory" in POOLS:  # not inside a guest for storage alone
    from drivers.hypervisors import embed_host, libvirt_world, world  # noqa: F401  # fixtures


@dataclass
class Pool:
    """A pool, and how to play a guest that runs on its images."""

    kind: str
    driver: Driver
    #: Where its files are, for pools that have files.
    dir_path: Path | None

    def spec(self, name: str, volume: str, *, template: bool = False, **more: Any) -> VolumeSpec:
        """Return a volume of this pool; 8 MiB where nothing else is said."""
        vid = self.driver.vid(name, volume, template=template)
        return VolumeSpec(vid=vid, **{"size_bytes": 8 * MIB, **more})

    @property
    def root(self) -> VolumeSpec:
        return self.spec("debian", "root", template=True, save_on_stop=True)

    @property
    def private(self) -> VolumeSpec:
        return self.spec("work", "private", save_on_stop=True)

    @property
    def volatile(self) -> VolumeSpec:
        return self.spec("work", "volatile")

    @property
    def snapshot(self) -> VolumeSpec:
        return self.spec("work", "root", source=self.root.vid, snap_on_start=True)

    def write(self, image: BlockImage, offset: int, data: bytes) -> None:
        """Write as a guest would."""
        if isinstance(self.driver, MemoryDriver):
            self.driver.image(image.path).write(offset, data)
        elif image.format == "qcow2":
            write_qcow2(image, offset, data)
        else:
            fd = os.open(image.path, os.O_WRONLY)
            try:
                os.pwrite(fd, data, offset)
                os.fsync(fd)  # a block device's pages must not outlive it
            finally:
                os.close(fd)

    def read(self, image: BlockImage, offset: int, count: int) -> bytes:
        """Read as a guest would."""
        if isinstance(self.driver, MemoryDriver):
            return self.driver.image(image.path).read(offset, count)
        if image.format == "qcow2":
            return read_qcow2(image, offset, count)
        with image.path.open("rb") as file:
            file.seek(offset)
            return file.read(count)


_SECTOR = 512
_DUMPED = re.compile(rb"(?m)^[0-9a-f]{8}:  ((?:[0-9a-f]{2} )+)")


def qemu_io(image: BlockImage, command: str, *words: str) -> bytes:
    """Run a command of qemu-io's on an image, which must succeed."""
    argv = ["qemu-io", *words, "-f", image.format, "-c", command, str(image.path)]
    done = subprocess.run(argv, check=True, capture_output=True)
    assert b"failed" not in done.stdout, done.stdout
    assert not done.stderr, done.stderr
    return done.stdout


def resize_image(image: BlockImage, size_bytes: int) -> None:
    """Grow an image, as QEMU does under a running guest."""
    argv = ["qemu-img", "resize", "-q", "-f", image.format, str(image.path), str(size_bytes)]
    subprocess.run(argv, check=True)


def write_qcow2(image: BlockImage, offset: int, data: bytes) -> None:
    """Write whole sectors of an image of QEMU's; the last one is filled up with zeros."""
    assert not offset % _SECTOR
    padded = data.ljust(-(-len(data) // _SECTOR) * _SECTOR, b"\0")
    with tempfile.NamedTemporaryFile() as pattern:
        pattern.write(padded)
        pattern.flush()
        qemu_io(image, f"write -s {pattern.name} {offset} {len(padded)}")


def read_qcow2(image: BlockImage, offset: int, count: int) -> bytes:
    """Read an image of QEMU's: qemu-io prints a dump of what it reads."""
    first = offset - offset % _SECTOR
    length = -(-(offset + count - first) // _SECTOR) * _SECTOR
    dump = qemu_io(image, f"read -v {first} {length}", "-r")
    found = b"".join(bytes.fromhex(line.decode()) for line in _DUMPED.findall(dump))
    assert len(found) == length
    return found[offset - first : offset - first + count]


def image_files(where: Path) -> list[Path]:
    return sorted(path for path in where.rglob("*.img*") if path.is_file())


def open_pool(kind: str, dir_path: Path) -> Driver:
    if kind == "memory":
        return MemoryDriver()
    if kind == "lvm_thin":
        group, pool = os.environ["QUBEWARD_TEST_LVM"].split("/")
        return open_driver(kind, {"volume_group": group, "thin_pool": pool})
    if kind == "zfs":
        return open_driver(kind, {"container": os.environ["QUBEWARD_TEST_ZFS"]})
    name = kind if kind in {"file", "qcow2"} else "file-reflink"
    settings = {"reflink_fallback": str(kind == "reflink-fallback")}
    return open_driver(name, {"dir_path": str(dir_path)}, settings)


def _mount(kind: str, factory: pytest.TempPathFactory) -> Iterator[Path]:
    with mounted(kind, factory.mktemp(kind)) as at:
        yield at


@pytest.fixture(scope="session")
def btrfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield from _mount("btrfs", tmp_path_factory)


@pytest.fixture(scope="session")
def xfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield from _mount("xfs", tmp_path_factory)


@pytest.fixture
def ext4(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield from _mount("ext4", tmp_path_factory)


@pytest.fixture(params=POOLS)
async def pool(request: Any, tmp_path: Path) -> Any:
    kind = request.param
    where = tmp_path
    if kind in {"reflink-btrfs", "reflink-xfs"}:
        where = request.getfixturevalue(kind.removeprefix("reflink-")) / tmp_path.name
    has_files = kind not in {"memory", *ELSEWHERE}
    driver = open_pool(kind, where / "pool")
    made = Pool(kind, driver, where / "pool" if has_files else None)
    await driver.setup()
    yield made
    for vid in await driver.vids():
        await driver.remove(vid)
    await driver.close()
