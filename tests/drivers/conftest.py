"""Pools of every driver, each on the file system that it is for."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from drivers.filesystems import mounted
from drivers.hypervisors import embed_host, libvirt_world, world  # noqa: F401  # fixtures
from qubeward.storage.driver import Driver
from qubeward.storage.drivers import open_driver
from qubeward.storage.memory import MemoryDriver

POOLS = ("memory", "file", "reflink-fallback", "reflink-btrfs", "reflink-xfs")


@dataclass
class Pool:
    """A pool, and how to play a guest that runs on its images."""

    driver: Driver
    dir_path: Path | None

    def write(self, path: Path, offset: int, data: bytes) -> None:
        if isinstance(self.driver, MemoryDriver):
            self.driver.image(path).write(offset, data)
            return
        fd = os.open(path, os.O_WRONLY)
        try:
            os.pwrite(fd, data, offset)
        finally:
            os.close(fd)

    def read(self, path: Path, offset: int, count: int) -> bytes:
        if isinstance(self.driver, MemoryDriver):
            return self.driver.image(path).read(offset, count)
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(count)


def image_files(where: Path) -> list[Path]:
    return sorted(path for path in where.rglob("*.img*") if path.is_file())


def open_pool(kind: str, dir_path: Path) -> Driver:
    if kind == "memory":
        return MemoryDriver()
    name = "file" if kind == "file" else "file-reflink"
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
async def pool(request: Any, tmp_path: Path) -> Pool:
    kind = request.param
    where = tmp_path
    if kind in {"reflink-btrfs", "reflink-xfs"}:
        where = request.getfixturevalue(kind.removeprefix("reflink-")) / tmp_path.name
    made = Pool(open_pool(kind, where / "pool"), None if kind == "memory" else where / "pool")
    await made.driver.setup()
    return made
