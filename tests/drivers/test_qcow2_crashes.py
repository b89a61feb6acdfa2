"""The qcow2 driver is killed before any call to the file system, at each point of each operation.

What it left is opened again and recovered as the daemon does. Then every volume is as it was or as
it was to be, what a guest wrote is there, and nothing is left over.
"""

import contextlib
import errno
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from drivers.conftest import read_qcow2, write_qcow2
from qubeward.errors import StorageError
from qubeward.host import process
from qubeward.storage import qcow2_image as image
from qubeward.storage.driver import BlockImage, VolumeSpec
from qubeward.storage.qcow2 import Qcow2Driver
from qubeward.storage.qcow2_layout import load_files, parse_layer
from qubeward.storage.qcow2_pointer import Pointer, parse_pointer

SIZE = 1 << 20
OLD, NEW, EMPTY = b"old", b"new", bytes(3)
ROOT = VolumeSpec(vid="vm-templates/debian/root", size_bytes=SIZE, save_on_stop=True)
PRIVATE = VolumeSpec(vid="appvms/work/private", size_bytes=SIZE, save_on_stop=True)
KEPT = replace(PRIVATE, revisions_to_keep=2)
SNAPSHOT = VolumeSpec(vid="appvms/work/root", size_bytes=SIZE, source=ROOT.vid, snap_on_start=True)
VOLATILE = VolumeSpec(vid="appvms/work/volatile", size_bytes=SIZE)
BOTH = VolumeSpec(
    vid="appvms/work/both", size_bytes=SIZE, source=ROOT.vid, snap_on_start=True, save_on_stop=True
)
CLONE = VolumeSpec(vid="appvms/copy/root", size_bytes=SIZE, save_on_stop=True)
ALL = (ROOT, KEPT, SNAPSHOT, VOLATILE, BOTH, CLONE)

CALLS = (
    (os, "open"), (os, "fsync"), (os, "rename"), (os, "unlink"), (os, "rmdir"), (os, "mkdir"),
    (os, "chmod"), (os, "fchmod"), (os, "ftruncate"), (os, "copy_file_range"), (os, "link"),
    (os, "write"), (os, "pwrite"), (process, "run"),
)  # fmt: skip


class KilledError(BaseException):
    """Stands for SIGKILL: no handler of the code under test catches it."""


@contextmanager
def killed_before_call(number: int) -> Iterator[list[str]]:
    """Let each call that changes something, or could, be the last that isn't made."""
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


@contextmanager
def failing_at_call(number: int) -> Iterator[list[str]]:
    """Let one call fail, as on a full disk; those after it go well again."""
    seen: list[str] = []

    def counting(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            seen.append(name)
            if len(seen) == number + 1:
                if name == "run":
                    return process.Completed(returncode=1, stdout=b"", stderr=b"No space left")
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return call(*args, **kwargs)

        return counted

    with pytest.MonkeyPatch.context() as patch:
        for module, name in CALLS:
            patch.setattr(module, name, counting(name, getattr(module, name)))
        yield seen


@contextmanager
def traced() -> Iterator[list[str]]:
    """Note what is made durable and what changes names, with the names."""
    seen: list[str] = []
    fsync = os.fsync

    def traced_fsync(fd: int) -> None:
        seen.append(f"fsync {Path(f'/proc/self/fd/{fd}').readlink().name}")
        fsync(fd)

    def tracing(name: str, call: Callable[..., Any], which: int) -> Callable[..., Any]:
        def called(*args: Any, **kwargs: Any) -> Any:
            result = call(*args, **kwargs)
            seen.append(f"{name} {Path(args[which]).name}")
            return result

        return called

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", traced_fsync)
        for name, which in (("rename", 1), ("link", 1), ("unlink", 0)):
            patch.setattr(os, name, tracing(name, getattr(os, name), which))
        yield seen


# The pool, as it is on disk.


def pointers(where: Path) -> dict[str, Pointer]:
    return {
        found.vid: parse_pointer(found.vid, found.path.read_bytes())
        for found in load_files(where)
        if found.what == ".volume" and not found.is_new
    }


def layer_names(where: Path) -> dict[int, str]:
    found = {}
    for path in (where / "layers").iterdir():
        layer = parse_layer(path.name)
        assert layer is not None, path
        found[layer.number] = path.name
    return found


def read(where: Path, layer: int) -> bytes:
    if not layer:
        return EMPTY
    path = where / "layers" / layer_names(where)[layer]
    return read_qcow2(BlockImage(path=path, format=path.suffix[1:], read_only=True), 0, 3)


def read_committed(where: Path, vid: str) -> bytes:
    return read(where, pointers(where)[vid].content.layer)


def assert_sound(where: Path) -> None:
    """Check that each file is one that somebody needs, and all that is needed is there."""
    names, needed = layer_names(where), set[int]()
    for pointer in pointers(where).values():
        needed |= pointer.layers
        assert len(pointer.kept) <= 2
        assert pointer.content.size_bytes == SIZE
    todo = [number for number in needed if number]
    while todo:
        layer = parse_layer(names[todo.pop()])
        assert layer is not None
        if layer.format == "qcow2":
            header = image.read_header(where / "layers" / layer.name)
            assert header.backing == names.get(layer.on, "")
        if layer.on:
            needed.add(layer.on)
            todo.append(layer.on)
    assert names.keys() == needed - {0}
    for path in where.rglob("*"):
        if path.is_file() and path.parent.name != "layers":
            assert path.suffix in {".volume", ".record"} or path.name == ".qubeward-pool", path


async def recover(where: Path) -> Qcow2Driver:
    """Do what the daemon does when it comes back and finds no guest."""
    driver = Qcow2Driver(where)
    await driver.open()
    await put_away(where, driver)
    return driver


async def put_away(where: Path, driver: Qcow2Driver) -> None:
    for volume in ALL:
        if volume.save_on_stop and volume.vid not in pointers(where):
            continue
        await driver.stop(volume)
        await driver.import_end(volume, success=False)
        await driver.export_end(volume)


# What is done to it.


async def write(driver: Qcow2Driver, volume: VolumeSpec, data: bytes = NEW) -> None:
    """Start it, and write as its guest."""
    started = await driver.start(volume)
    if started.format == "qcow2":
        write_qcow2(started, 0, data)


async def set_up(driver: Qcow2Driver) -> None:
    await driver.setup()
    for volume in (ROOT, KEPT):
        await driver.create(volume)
        await write(driver, volume, OLD)
        await driver.stop(volume)


async def deepen(driver: Qcow2Driver, volume: VolumeSpec, times: int) -> None:
    for _ in range(times):
        await driver.start(volume)
        await driver.stop(volume)


async def none(driver: Qcow2Driver, volume: VolumeSpec) -> None:
    pass


async def create(driver: Qcow2Driver, volume: VolumeSpec) -> None:
    await driver.create(volume)


async def start(driver: Qcow2Driver, volume: VolumeSpec) -> None:
    await driver.start(volume)


async def stop(driver: Qcow2Driver, volume: VolumeSpec) -> None:
    await driver.stop(volume)


async def create_and_write(driver: Qcow2Driver, volume: VolumeSpec) -> None:
    await driver.create(volume)
    await write(driver, volume)


async def import_begin(driver: Qcow2Driver, volume: VolumeSpec) -> None:
    path = await driver.import_begin(volume, SIZE)
    if path.exists():
        path.write_bytes(NEW.ljust(SIZE, b"\0"))


async def clear_begin(driver: Qcow2Driver, volume: VolumeSpec) -> None:
    await driver.import_begin(volume, SIZE)


async def import_over_leftover(driver: Qcow2Driver, volume: VolumeSpec) -> None:
    await write(driver, volume, b"mid")
    await import_begin(driver, volume)


async def import_end(driver: Qcow2Driver, volume: VolumeSpec) -> None:
    await driver.import_end(volume, success=True)


async def import_fail(driver: Qcow2Driver, volume: VolumeSpec) -> None:
    await driver.import_end(volume, success=False)


async def change_root(driver: Qcow2Driver, volume: VolumeSpec) -> None:
    await write(driver, ROOT)
    await driver.stop(ROOT)


async def clone(driver: Qcow2Driver, volume: VolumeSpec) -> None:
    await driver.clone(volume, ROOT)
    await driver.import_end(volume, success=True)


async def revert(driver: Qcow2Driver, volume: VolumeSpec) -> None:
    await driver.revert(volume, (await driver.revisions(volume.vid))[0].id)


async def snapshot(driver: Qcow2Driver, volume: VolumeSpec) -> None:
    await driver.snapshot(volume)


async def resize(driver: Qcow2Driver, volume: VolumeSpec) -> None:
    await driver.resize(volume, SIZE, running=False)


async def deep(driver: Qcow2Driver, volume: VolumeSpec) -> None:
    await deepen(driver, volume, 8)


async def very_deep(driver: Qcow2Driver, volume: VolumeSpec) -> None:
    await deepen(driver, volume, 24)


async def deep_and_written(driver: Qcow2Driver, volume: VolumeSpec) -> None:
    await deepen(driver, volume, 8)
    await write(driver, volume)


async def tidied_and_written(driver: Qcow2Driver, volume: VolumeSpec) -> None:
    await deep_and_written(driver, volume)
    await driver.tidy(volume)


async def tidy(driver: Qcow2Driver, volume: VolumeSpec) -> None:
    await driver.tidy(volume)


async def export(driver: Qcow2Driver, volume: VolumeSpec) -> None:
    await driver.export_begin(volume)
    await driver.export_end(volume)


async def keep_record(driver: Qcow2Driver, volume: VolumeSpec) -> None:
    await driver.keep_record(volume.vid, b"record")


Work = Callable[[Qcow2Driver, VolumeSpec], Awaitable[None]]


@dataclass(frozen=True)
class Case:
    """`prepare` is done before, `work` is killed; then the volume has one of `leaves`."""

    work: Work
    volume: VolumeSpec
    prepare: Work
    leaves: frozenset[bytes]

    def __str__(self) -> str:
        keep = "-kept" if self.volume.revisions_to_keep else ""
        name = self.volume.vid.split("/", 1)[1].replace("/", "-")
        return f"{self.work.__name__}-{name}{keep}-after-{self.prepare.__name__}"


def case(work: Work, volume: VolumeSpec, prepare: Work, *leaves: bytes) -> Case:
    return Case(work, volume, prepare, frozenset(leaves))


WORK = [
    case(start, PRIVATE, none, OLD),
    case(start, PRIVATE, write, NEW),
    case(start, KEPT, write, NEW),
    case(start, PRIVATE, very_deep, OLD),
    case(start, SNAPSHOT, none),
    case(start, SNAPSHOT, write),
    case(start, VOLATILE, none),
    case(start, VOLATILE, start),
    case(start, BOTH, create, EMPTY, OLD),
    case(start, BOTH, create_and_write, NEW, OLD),
    case(stop, PRIVATE, write, NEW),
    case(stop, KEPT, write, NEW),
    case(stop, ROOT, write, NEW),
    case(stop, SNAPSHOT, write),
    case(stop, VOLATILE, start),
    case(stop, BOTH, create_and_write, NEW),
    case(stop, KEPT, tidied_and_written, NEW),
    case(stop, replace(KEPT, rw=False), start, OLD),
    case(import_begin, PRIVATE, none, OLD),
    case(import_end, PRIVATE, import_begin, OLD, NEW),
    case(import_end, KEPT, import_begin, OLD, NEW),
    case(import_end, KEPT, import_over_leftover, b"mid", NEW),
    case(import_end, KEPT, clear_begin, OLD, EMPTY),
    case(import_fail, KEPT, import_begin, OLD),
    case(clone, KEPT, change_root, OLD, NEW),
    case(clone, KEPT, write, NEW, OLD),
    case(revert, KEPT, none, OLD, EMPTY),
    case(revert, KEPT, write, NEW, EMPTY),
    case(snapshot, KEPT, none, OLD),
    case(resize, KEPT, none, OLD),
    case(resize, KEPT, write, NEW),
    case(tidy, PRIVATE, deep, OLD),
    case(tidy, KEPT, deep, OLD),
    case(tidy, KEPT, deep_and_written, NEW),
    case(tidy, ROOT, deep, OLD),
    case(export, KEPT, none, OLD),
    case(keep_record, KEPT, none, OLD),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("case", WORK, ids=str)
async def test_a_kill_loses_nothing_and_leaves_nothing(tmp_path: Path, case: Case) -> None:
    prepared, found, number, finished = tmp_path / "prepared", set[bytes](), 0, False
    driver = Qcow2Driver(prepared)
    await set_up(driver)
    await case.prepare(driver, case.volume)
    await driver.close()
    while not finished:
        where = tmp_path / str(number)
        shutil.copytree(prepared, where)
        driver = Qcow2Driver(where)
        await driver.open()
        with killed_before_call(number):
            try:
                await case.work(driver, case.volume)
                finished = True
            except KilledError:
                pass
        await driver.close()
        recovered = await recover(where)
        assert_sound(where)
        if case.volume.save_on_stop:
            found.add(read_committed(where, case.volume.vid))
            assert not found - case.leaves, (number, found)
        for vid in {ROOT.vid, PRIVATE.vid} - {case.volume.vid}:
            assert read_committed(where, vid) in {OLD, NEW}
        for kept in pointers(where)[PRIVATE.vid].kept:
            assert read(where, kept.content.layer) in {EMPTY, OLD, NEW, b"mid"}
        await recovered.close()
        shutil.rmtree(where)
        number += 1
    assert number > 1
    assert found == case.leaves or case.volume is BOTH


@pytest.mark.slow
@pytest.mark.parametrize("case", WORK, ids=str)
async def test_a_call_that_fails_loses_nothing_and_leaves_nothing(
    tmp_path: Path, case: Case
) -> None:
    prepared, number, finished = tmp_path / "prepared", 0, False
    driver = Qcow2Driver(prepared)
    await set_up(driver)
    await case.prepare(driver, case.volume)
    await driver.close()
    while not finished:
        where = tmp_path / str(number)
        shutil.copytree(prepared, where)
        driver = Qcow2Driver(where)
        await driver.open()
        with failing_at_call(number) as seen:
            with contextlib.suppress(StorageError):
                await case.work(driver, case.volume)
            finished = len(seen) <= number
        failed = "" if finished else seen[number]
        if failed != "unlink":
            assert not list(where.rglob("*.new")), number
        await put_away(where, driver)
        # Whether a name is durable isn't known after some of these: then both ways must stay open,
        # and the next opening of the pool sweeps away what wasn't needed.
        if failed not in {"unlink", "fsync", "open"}:
            assert_sound(where)
        await driver.close()
        await (await recover(where)).close()
        assert_sound(where)
        if case.volume.save_on_stop:
            assert read_committed(where, case.volume.vid) in case.leaves | {NEW}
        shutil.rmtree(where)
        number += 1
    assert number > 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "prepare", [none, write, import_begin, deep, snapshot], ids=lambda w: w.__name__
)
@pytest.mark.parametrize("work", ["create", "remove"])
async def test_a_kill_in_create_or_remove_is_undone_by_remove(
    tmp_path: Path, work: str, prepare: Work
) -> None:
    number, finished = 0, False
    while not finished:
        where = tmp_path / str(number)
        driver = Qcow2Driver(where)
        await driver.setup()
        if work == "remove":
            await driver.create(KEPT)
            await prepare(driver, KEPT)
            await driver.keep_record(KEPT.vid, b"record")
        with killed_before_call(number):
            try:
                await (driver.create(KEPT) if work == "create" else driver.remove(KEPT.vid))
                finished = True
            except KilledError:
                pass
        await driver.close()
        driver = Qcow2Driver(where)
        await driver.open()
        if work == "create":
            await driver.create(KEPT)
            assert await driver.size_bytes(KEPT) == SIZE
        await driver.remove(KEPT.vid)
        assert await driver.vids() == ()
        assert await driver.records() == {}
        assert not (where / "appvms" / "work").exists()
        assert layer_names(where) == {}
        await driver.close()
        number += 1


@pytest.mark.slow
async def test_a_kill_while_a_template_is_removed_harms_no_clone_and_no_guest(
    tmp_path: Path,
) -> None:
    prepared, number, finished = tmp_path / "prepared", 0, False
    driver = Qcow2Driver(prepared)
    await set_up(driver)
    await driver.create(CLONE)
    await clone(driver, CLONE)
    await change_root(driver, ROOT)
    await driver.start(SNAPSHOT)
    await driver.close()
    while not finished:
        where = tmp_path / str(number)
        shutil.copytree(prepared, where)
        driver = Qcow2Driver(where)
        await driver.open()
        with killed_before_call(number):
            try:
                await driver.remove(ROOT.vid)
                finished = True
            except KilledError:
                pass
        await driver.close()
        driver = Qcow2Driver(where)
        await driver.open()
        await driver.remove(ROOT.vid)
        running = BlockImage(path=driver.path(SNAPSHOT), format="qcow2")
        assert read_qcow2(running, 0, 3) == NEW
        assert read_committed(where, CLONE.vid) == OLD
        await driver.stop(SNAPSHOT)
        assert_sound(where)
        await driver.close()
        shutil.rmtree(where)
        number += 1


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["setup", "open", "teardown"])
async def test_a_kill_of_the_pool_itself_is_made_good_by_setup(tmp_path: Path, verb: str) -> None:
    prepared, number, finished = tmp_path / "prepared", 0, False
    driver = Qcow2Driver(prepared)
    if verb == "open":
        await set_up(driver)
        await write(driver, KEPT)
        (prepared / "layers" / "90.new").touch()
        (prepared / "layers" / "91.raw").touch()
        (prepared / "layers" / "92-on-91.qcow2").touch()
        (prepared / "appvms" / "work" / "private-export.raw").touch()
        (prepared / "appvms" / "work" / "private.volume.new").touch()
    elif verb == "teardown":
        await driver.setup()
    else:
        prepared.mkdir()
    await driver.close()
    while not finished:
        where = tmp_path / str(number)
        shutil.copytree(prepared, where)
        driver = Qcow2Driver(where)
        with killed_before_call(number):
            try:
                await getattr(driver, verb)()
                finished = True
            except KilledError:
                pass
        await driver.close()
        driver = Qcow2Driver(where)
        await driver.setup()
        await driver.close()
        if verb == "open":
            await (await recover(where)).close()
            assert read_committed(where, KEPT.vid) == NEW
        assert_sound(where)
        shutil.rmtree(where)
        number += 1


async def test_a_stop_makes_durable_what_is_named_before_it_is_named(tmp_path: Path) -> None:
    driver = Qcow2Driver(tmp_path)
    await set_up(driver)
    await write(driver, PRIVATE)
    with traced() as seen:
        await driver.stop(PRIVATE)
    assert seen == [
        "fsync private-dirty-on-2.qcow2",
        "link 3-on-2.qcow2",
        "fsync layers",
        "fsync private.volume.new",
        "rename private.volume",
        "fsync work",
        "unlink private-dirty-on-2.qcow2",
    ]
    await driver.close()


async def test_a_start_makes_a_saved_overlay_durable_and_no_other(tmp_path: Path) -> None:
    driver = Qcow2Driver(tmp_path)
    await set_up(driver)
    with traced() as seen:
        await driver.start(PRIVATE)
    assert seen == [
        "fsync private-dirty-on-2.qcow2.new", "rename private-dirty-on-2.qcow2", "fsync work",
    ]  # fmt: skip
    with traced() as seen:
        await driver.start(SNAPSHOT)
    assert seen == ["rename root-dirty-on-1.qcow2"]
    await driver.close()


async def test_a_layer_is_deleted_after_its_last_name_is_gone_for_good(tmp_path: Path) -> None:
    driver = Qcow2Driver(tmp_path)
    await set_up(driver)
    await driver.start(SNAPSHOT)
    await driver.remove(ROOT.vid)
    with traced() as seen:
        await driver.stop(SNAPSHOT)
    assert seen == ["unlink root-dirty-on-1.qcow2", "fsync work", "unlink 1.qcow2"]
    with traced() as seen:
        await driver.remove(PRIVATE.vid)
    assert seen == ["unlink private.volume", "fsync work", "unlink 2.qcow2", "fsync appvms"]
    await driver.close()


async def test_a_merge_is_durable_before_it_is_named(tmp_path: Path) -> None:
    driver = Qcow2Driver(tmp_path)
    await set_up(driver)
    await deepen(driver, PRIVATE, 8)
    with traced() as seen:
        await driver.tidy(PRIVATE)
    assert seen[:6] == [
        "fsync 11.new", "link 12-on-2.qcow2", "fsync layers",
        "fsync private.volume.new", "rename private.volume", "fsync work",
    ]  # fmt: skip
    merged = {f"{number + 1}-on-{number}.qcow2" for number in range(2, 10)}
    assert set(seen[6:]) == {"unlink 11.new", *(f"unlink {name}" for name in merged)}
    await driver.close()
