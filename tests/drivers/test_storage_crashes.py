"""A kill before any call to the file system, at each point of each operation, then recovery."""

import fcntl
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from drivers.conftest import open_pool
from qubeward.storage.driver import Driver, VolumeSpec

SIZE = 1 << 20
ROOT = VolumeSpec(vid="vm-templates/debian/root", size_bytes=SIZE, save_on_stop=True)
PRIVATE = VolumeSpec(vid="appvms/work/private", size_bytes=SIZE, save_on_stop=True)
SNAPSHOT = VolumeSpec(vid="appvms/work/root", size_bytes=SIZE, source=ROOT.vid, snap_on_start=True)
VOLATILE = VolumeSpec(vid="appvms/work/volatile", size_bytes=SIZE)
BOTH = VolumeSpec(
    vid="appvms/work/both", size_bytes=SIZE, source=ROOT.vid, snap_on_start=True, save_on_stop=True
)

CALLS = (
    (os, "open"), (os, "fsync"), (os, "rename"), (os, "unlink"), (os, "rmdir"), (os, "mkdir"),
    (os, "chmod"), (os, "ftruncate"), (os, "copy_file_range"), (fcntl, "ioctl"),
)  # fmt: skip


class KilledError(BaseException):
    """Stands for SIGKILL: no handler of the code under test catches it."""


@contextmanager
def killed_before_call(number: int) -> Iterator[list[str]]:
    seen: list[str] = []

    def counting(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            if len(seen) == number:
                raise KilledError
            seen.append(name)
            return call(*args, **kwargs)

        return counted

    with pytest.MonkeyPatch.context() as patch:
        for module, name in CALLS:
            patch.setattr(module, name, counting(name, getattr(module, name)))
        yield seen


def write(path: Path, data: bytes) -> None:
    with path.open("r+b") as file:
        file.write(data)


async def set_up(driver: Driver, content: bytes) -> None:
    await driver.setup()
    for volume in (ROOT, PRIVATE):
        await driver.create(volume)
        write((await driver.start(volume)).path, content)
        await driver.stop(volume)


async def recover(driver: Driver) -> None:
    for volume in (ROOT, PRIVATE, SNAPSHOT, VOLATILE, BOTH):
        await driver.stop(volume)
        await driver.import_end(volume, success=False)


async def read(driver: Driver, volume: VolumeSpec) -> bytes:
    data = (await driver.start(volume)).path.read_bytes()
    await driver.stop(volume)
    assert len(data) == SIZE
    return data[:3]


def file_names(where: Path) -> set[str]:
    return {path.name for path in where.rglob("*") if path.is_file()}


async def start(driver: Driver, volume: VolumeSpec) -> None:
    await driver.start(volume)


async def start_over_leftover(driver: Driver, volume: VolumeSpec) -> None:
    write((await driver.start(volume)).path, b"new")
    await driver.start(volume)


async def run(driver: Driver, volume: VolumeSpec) -> None:
    write((await driver.start(volume)).path, b"new")
    await driver.stop(volume)


async def import_(driver: Driver, volume: VolumeSpec) -> None:
    path = await driver.import_begin(volume, SIZE)
    write(path, b"new")
    await driver.import_end(volume, success=True)


Work = Callable[[Driver, VolumeSpec], Awaitable[None]]
WORK = [
    (start, PRIVATE), (start, SNAPSHOT), (start, VOLATILE), (start, BOTH),
    (start_over_leftover, PRIVATE), (run, PRIVATE), (run, ROOT), (run, SNAPSHOT), (run, VOLATILE),
    (import_, PRIVATE),
]  # fmt: skip
KINDS = ("file", "reflink-fallback", "reflink-btrfs", "reflink-xfs")


@pytest.fixture(params=KINDS)
def place(request: Any, tmp_path: Path) -> tuple[str, Path]:
    kind = request.param
    if kind in {"reflink-btrfs", "reflink-xfs"}:
        return kind, request.getfixturevalue(kind.removeprefix("reflink-")) / tmp_path.name
    return kind, tmp_path


@pytest.mark.parametrize(("work", "volume"), WORK, ids=lambda x: getattr(x, "__name__", None))
async def test_a_kill_leaves_old_or_new_whole_and_nothing_else(
    place: tuple[str, Path], work: Work, volume: VolumeSpec
) -> None:
    kind, where = place
    found, number, finished = set(), 0, False
    while not finished:
        at = where / str(number)
        await set_up(open_pool(kind, at), b"old")
        driver = open_pool(kind, at)
        with killed_before_call(number):
            try:
                await work(driver, volume)
                finished = True
            except KilledError:
                pass
        driver = open_pool(kind, at)
        await recover(driver)
        assert file_names(at) - {"both.img"} == {"root.img", "private.img"}
        found.add(await read(driver, PRIVATE if volume is PRIVATE else ROOT))
        number += 1
    assert number > 1
    changes = work is not start and volume in {PRIVATE, ROOT}
    assert found == ({b"old", b"new"} if changes else {b"old"})


@pytest.mark.parametrize("verb", ["create", "remove"])
async def test_a_kill_in_create_or_remove_is_undone_by_remove(
    place: tuple[str, Path], verb: str
) -> None:
    kind, where = place
    number, finished = 0, False
    while not finished:
        at = where / str(number)
        driver = open_pool(kind, at)
        await driver.setup()
        if verb == "remove":
            await driver.create(PRIVATE)
            await driver.import_begin(PRIVATE, SIZE)
            await driver.start(PRIVATE)
        with killed_before_call(number):
            try:
                await (driver.create(PRIVATE) if verb == "create" else driver.remove(PRIVATE.vid))
                finished = True
            except KilledError:
                pass
        driver = open_pool(kind, at)
        if verb == "create":
            await driver.create(PRIVATE)
            assert await driver.size_bytes(PRIVATE) == SIZE
        await driver.remove(PRIVATE.vid)
        assert await driver.vids() == ()
        assert not (at / "appvms" / "work").exists()
        number += 1


async def test_a_stop_syncs_data_before_the_name_and_the_name_after(tmp_path: Path) -> None:
    driver = open_pool("file", tmp_path)
    await set_up(driver, b"old")
    write((await driver.start(PRIVATE)).path, b"new")
    with killed_before_call(-1) as seen:
        await driver.stop(PRIVATE)
    assert [name for name in seen if name != "open"] == ["unlink", "fsync", "rename", "fsync"]
