"""A kill before any call to the file system, at each point of each operation, then recovery."""

import fcntl
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from drivers.conftest import open_pool
from qubeward.storage.driver import Driver, VolumeSpec

SIZE = 1 << 20
EMPTY = bytes(3)
ROOT = VolumeSpec(vid="vm-templates/debian/root", size_bytes=SIZE, save_on_stop=True)
PRIVATE = VolumeSpec(vid="appvms/work/private", size_bytes=SIZE, save_on_stop=True)
KEPT = VolumeSpec(
    vid="appvms/work/private", size_bytes=SIZE, save_on_stop=True, revisions_to_keep=1
)
SNAPSHOT = VolumeSpec(vid="appvms/work/root", size_bytes=SIZE, source=ROOT.vid, snap_on_start=True)
VOLATILE = VolumeSpec(vid="appvms/work/volatile", size_bytes=SIZE)
BOTH = VolumeSpec(
    vid="appvms/work/both", size_bytes=SIZE, source=ROOT.vid, snap_on_start=True, save_on_stop=True
)

CALLS = (
    (os, "open"), (os, "fsync"), (os, "rename"), (os, "unlink"), (os, "rmdir"), (os, "mkdir"),
    (os, "chmod"), (os, "ftruncate"), (os, "copy_file_range"), (os, "link"), (fcntl, "ioctl"),
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


async def set_up(driver: Driver, content: bytes, private: VolumeSpec = PRIVATE) -> None:
    await driver.setup()
    for volume in (ROOT, private):
        await driver.create(volume)
        write((await driver.start(volume)).path, content)
        await driver.stop(volume)


async def recover(driver: Driver, private: VolumeSpec) -> None:
    private = KEPT if private is KEPT else PRIVATE
    for volume in (ROOT, private, SNAPSHOT, VOLATILE, BOTH):
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


async def clear(driver: Driver, volume: VolumeSpec) -> None:
    await driver.import_begin(volume, SIZE)
    await driver.import_end(volume, success=True)


async def clone(driver: Driver, volume: VolumeSpec) -> None:
    write((await driver.start(ROOT)).path, b"new")
    await driver.stop(ROOT)
    await driver.clone(volume, ROOT)
    await driver.import_end(volume, success=True)


async def revert(driver: Driver, volume: VolumeSpec) -> None:
    await driver.revert(volume, (await driver.revisions(volume.vid))[-1].id)


async def snapshot(driver: Driver, volume: VolumeSpec) -> None:
    await driver.snapshot(volume)


async def resize(driver: Driver, volume: VolumeSpec) -> None:
    await driver.resize(volume, SIZE, running=False)


Work = Callable[[Driver, VolumeSpec], Awaitable[None]]
WORK = [
    (start, PRIVATE), (start, SNAPSHOT), (start, VOLATILE), (start, BOTH),
    (start_over_leftover, PRIVATE), (run, PRIVATE), (run, ROOT), (run, SNAPSHOT), (run, VOLATILE),
    (import_, PRIVATE), (clone, PRIVATE), (resize, PRIVATE),
    (start, KEPT), (run, KEPT), (start_over_leftover, KEPT), (import_, KEPT), (clone, KEPT),
    (revert, KEPT), (snapshot, KEPT), (clear, KEPT), (resize, KEPT),
]  # fmt: skip
#: What each leaves of a volume that was `old`, and before that empty.
LEAVES = {
    start: {b"old"}, snapshot: {b"old"}, resize: {b"old"}, revert: {b"old", EMPTY},
    clear: {b"old", EMPTY},
}  # fmt: skip
KINDS = (
    "file",
    pytest.param("reflink-fallback", marks=pytest.mark.slow),
    pytest.param("reflink-btrfs", marks=pytest.mark.slow),
    pytest.param("reflink-xfs", marks=pytest.mark.slow),
)


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
        await set_up(open_pool(kind, at), b"old", KEPT if volume is KEPT else PRIVATE)
        driver = open_pool(kind, at)
        with killed_before_call(number):
            try:
                await work(driver, volume)
                finished = True
            except KilledError:
                pass
        driver = open_pool(kind, at)
        await recover(driver, volume)
        assert image_names(at) - {"both.img"} == {"root.img", "private.img"}
        await check_revisions(at, driver, volume)
        found.add(await read(driver, ROOT if volume not in {PRIVATE, KEPT} else volume))
        shutil.rmtree(at)
        number += 1
    assert number > 1
    changes = volume in {PRIVATE, KEPT, ROOT}
    assert found == (LEAVES.get(work, {b"old", b"new"}) if changes else {b"old"})


def image_names(where: Path) -> set[str]:
    return {name for name in file_names(where) if "@" not in name}


async def check_revisions(where: Path, driver: Driver, volume: VolumeSpec) -> None:
    """Each revision is one that was committed, whole; and there are no more than it takes."""
    found = await driver.revisions(PRIVATE.vid)
    assert len(found) == len(file_names(where)) - len(image_names(where))
    assert len(found) <= (2 if volume is KEPT else 0)
    for path in kept_files(where):
        assert len(path.read_bytes()) == SIZE
        assert path.read_bytes()[:3] in {EMPTY, b"old", b"new"}


def kept_files(where: Path) -> list[Path]:
    return list(where.rglob("*@*"))


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
    wanted = {"fsync", "rename", "link"}
    assert [name for name in seen if name in wanted] == ["fsync", "rename", "fsync"]
    write((await driver.start(KEPT)).path, b"new")
    with killed_before_call(-1) as seen:
        await driver.stop(KEPT)
    assert [name for name in seen if name in wanted] == ["fsync", "link", "rename", "fsync"]
