"""What the qcow2 driver promises beyond the contract: nothing copied, chains kept short, and what
others need kept."""

import asyncio
import json
import os
import random
import stat
import subprocess
import threading
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drivers.conftest import MIB, qemu_io, read_qcow2, resize_image, write_qcow2
from qubeward.errors import StorageError
from qubeward.host import process
from qubeward.storage import qcow2_merge
from qubeward.storage.driver import BlockImage, VolumeSpec
from qubeward.storage.qcow2 import Qcow2Driver, open_qcow2
from qubeward.storage.qcow2_layers import Layers
from qubeward.storage.qcow2_pointer import Content, Pointer, parse_pointer

ROOT = VolumeSpec(vid="vm-templates/debian/root", size_bytes=8 * MIB, save_on_stop=True)
PRIVATE = VolumeSpec(vid="appvms/work/private", size_bytes=8 * MIB, save_on_stop=True)
SNAPSHOT = VolumeSpec(
    vid="appvms/work/root", size_bytes=8 * MIB, source=ROOT.vid, snap_on_start=True
)


@pytest.fixture
async def driver(tmp_path: Path) -> AsyncIterator[Qcow2Driver]:
    made = open_qcow2({"dir_path": str(tmp_path / "pool"), "revisions_to_keep": "1"})
    await made.setup()
    yield made
    await made.close()


async def again(driver: Qcow2Driver) -> Qcow2Driver:
    """Open the pool as a new daemon does."""
    await driver.close()
    driver = Qcow2Driver(driver._dir_path)
    await driver.open()
    return driver


def layers(driver: Qcow2Driver) -> list[str]:
    return sorted(path.name for path in (driver._dir_path / "layers").iterdir())


def depth(driver: Qcow2Driver, volume: VolumeSpec) -> int:
    pointer = driver._layers.ledger.find(volume.vid)
    assert pointer is not None
    return len(driver._layers.ledger.chain(volume.vid, pointer.content.layer))


async def write(driver: Qcow2Driver, volume: VolumeSpec, data: bytes, offset: int = 0) -> None:
    write_qcow2(await driver.start(volume), offset, data)


async def run(driver: Qcow2Driver, volume: VolumeSpec, data: bytes, offset: int = 0) -> None:
    await write(driver, volume, data, offset)
    await driver.stop(volume)


async def read(driver: Qcow2Driver, volume: VolumeSpec, count: int, offset: int = 0) -> bytes:
    """Read what is committed, as an export has it."""
    path = await driver.export_begin(volume)
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read(count)
    await driver.export_end(volume)
    return data


async def read_all(driver: Qcow2Driver, volume: VolumeSpec) -> bytes:
    return await read(driver, volume, 1 << 30)


def virtual_size_bytes(path: Path) -> int:
    argv = ["qemu-img", "info", "--output=json", str(path)]
    found = json.loads(subprocess.run(argv, check=True, capture_output=True).stdout)
    return int(found["virtual-size"])


# Nothing is copied.


async def test_a_clone_is_the_same_layer_and_outlives_its_source(driver: Qcow2Driver) -> None:
    clone = replace(PRIVATE, vid="appvms/copy/private")
    for volume in (PRIVATE, clone):
        await driver.create(volume)
    await run(driver, PRIVATE, b"same")
    before = layers(driver)
    await driver.clone(clone, PRIVATE)
    await driver.import_end(clone, success=True)
    assert layers(driver) == before
    await driver.remove(PRIVATE.vid)
    assert layers(driver) == before
    assert await read(driver, clone, 4) == b"same"
    await driver.remove(clone.vid)
    assert layers(driver) == []


async def test_what_a_clone_will_commit_stays_until_then(driver: Qcow2Driver) -> None:
    clone = replace(PRIVATE, vid="appvms/copy/private")
    for volume in (PRIVATE, clone):
        await driver.create(volume)
    await run(driver, PRIVATE, b"same")
    await driver.clone(clone, PRIVATE)
    await driver.remove(PRIVATE.vid)
    await driver.import_end(clone, success=True)
    assert await read(driver, clone, 4) == b"same"
    await driver.clone(clone, clone)
    await driver.remove(clone.vid)
    assert layers(driver) == []


async def test_a_template_may_go_while_a_clone_and_a_guest_need_it(driver: Qcow2Driver) -> None:
    clone = replace(ROOT, vid="vm-templates/other/root")
    for volume in (ROOT, clone):
        await driver.create(volume)
    await run(driver, ROOT, b"one")
    await driver.clone(clone, ROOT)
    await driver.import_end(clone, success=True)
    await run(driver, ROOT, b"two")
    running = await driver.start(SNAPSHOT)
    await driver.remove(ROOT.vid)
    assert read_qcow2(running, 0, 3) == b"two"
    assert await read(driver, clone, 3) == b"one"
    driver = await again(driver)
    assert read_qcow2(running, 0, 3) == b"two"
    await driver.stop(SNAPSHOT)
    await driver.remove(clone.vid)
    assert layers(driver) == []
    await driver.close()


async def test_without_snapshots_a_guest_runs_on_an_overlay_all_the_same(
    driver: Qcow2Driver,
) -> None:
    never = replace(PRIVATE, revisions_to_keep=-1)
    await driver.create(never)
    await run(driver, never, b"one")
    await write(driver, never, b"two")
    assert await read(driver, never, 3) == b"one"
    await driver.stop(never)
    assert await driver.revisions(never.vid) == ()
    assert len(layers(driver)) == 2


async def test_an_import_of_nothing_takes_no_layer(driver: Qcow2Driver) -> None:
    await driver.create(PRIVATE)
    await run(driver, PRIVATE, b"data")
    await driver.import_begin(PRIVATE, 8 * MIB)
    await driver.import_end(PRIVATE, success=True)
    assert layers(driver) == []
    assert await read(driver, PRIVATE, 4) == bytes(4)


async def test_an_import_is_exported_as_it_is(driver: Qcow2Driver) -> None:
    await driver.create(PRIVATE)
    path = await driver.import_begin(PRIVATE, 1000)
    path.write_bytes(b"x" * 1000)
    await driver.import_end(PRIVATE, success=True)
    exported = await driver.export_begin(PRIVATE)
    assert exported.parent.name == "layers"
    assert exported.read_bytes() == b"x" * 1000
    await driver.remove(PRIVATE.vid)
    assert not exported.exists()


async def test_an_export_is_of_just_the_size(driver: Qcow2Driver) -> None:
    await driver.create(PRIVATE)
    await run(driver, PRIVATE, b"data")
    await driver.resize(PRIVATE, 12 * MIB + 512, running=False)
    for _ in range(2):
        path = await driver.export_begin(PRIVATE)
        assert path.stat().st_size == 12 * MIB + 512
        assert path.stat().st_blocks * 512 < MIB
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    await driver.export_end(PRIVATE)
    assert not path.exists()


async def test_what_is_read_only_is_not_committed(driver: Qcow2Driver) -> None:
    await driver.create(PRIVATE)
    await run(driver, PRIVATE, b"data")
    await driver.resize(PRIVATE, 12 * MIB, running=False)
    only = replace(PRIVATE, rw=False, revisions_to_keep=1)
    started = await driver.start(only)
    assert virtual_size_bytes(started.path) == 12 * MIB
    await driver.stop(only)
    assert await driver.revisions(only.vid) == ()
    assert len(layers(driver)) == 1
    await write(driver, PRIVATE, b"left by a crash")
    await driver.stop(only)
    assert await read(driver, PRIVATE, 15) == b"left by a crash"


# What a guest could do.


@pytest.mark.parametrize(
    ("at", "data"),
    [(126, b"/../../layers/1"), (120, b"vmdk"), (72, b"\0\0\0\0\0\0\0\4"), (8, b"\0" * 12)],
    ids=["another file below", "another format below", "data elsewhere", "nothing below"],
)
async def test_what_a_guest_did_to_its_image_opens_no_other_file(
    driver: Qcow2Driver, at: int, data: bytes
) -> None:
    await driver.create(PRIVATE)
    await run(driver, PRIVATE, b"good")
    started = await driver.start(PRIVATE)
    with started.path.open("r+b") as file:
        file.seek(at)
        file.write(data)
    for call in (
        driver.stop(PRIVATE), driver.start(PRIVATE), driver.resize(PRIVATE, 9 * MIB, running=False)
    ):  # fmt: skip
        with pytest.raises(StorageError, match="can't be used") as raised:
            await call
        assert str(driver._dir_path) not in str(raised.value)
    assert started.path.exists()
    assert await read(driver, PRIVATE, 4) == b"good"
    driver = await again(driver)
    with pytest.raises(StorageError, match="can't be used"):
        await driver.stop(PRIVATE)
    await driver.remove(PRIVATE.vid)
    assert layers(driver) == []
    await driver.close()


async def test_a_layer_is_nobody_elses_to_write(driver: Qcow2Driver) -> None:
    await driver.create(PRIVATE)
    started = await driver.start(PRIVATE)
    started.path.chmod(0o666)
    if os.geteuid() == 0:
        os.chown(started.path, 65534, 65534)
    await driver.stop(PRIVATE)
    (layer,) = (driver._dir_path / "layers").iterdir()
    assert stat.S_IMODE(layer.stat().st_mode) == 0o600
    assert layer.stat().st_uid == os.geteuid()
    assert stat.S_IMODE(layer.parent.stat().st_mode) == 0o711


# Chains.


async def lengthen(driver: Qcow2Driver, volume: VolumeSpec, times: int) -> None:
    """Let its guest write to a place of each time, and to one place every time."""
    for number in range(times):
        started = await driver.start(volume)
        words = (f"write -P {number + 1} {number * 128}k 64k", f"write -P {number + 1} 7M 64k")
        for word in words:
            qemu_io(started, word)
        await driver.stop(volume)


@pytest.mark.slow
@pytest.mark.parametrize("base", ["none", "raw", "large"])
async def test_a_merge_changes_nothing_but_the_depth(driver: Qcow2Driver, base: str) -> None:
    kept = replace(PRIVATE, revisions_to_keep=2)
    await driver.create(kept)
    if base == "raw":
        path = await driver.import_begin(kept, 8 * MIB)
        path.write_bytes(os.urandom(MIB) * 8)
        await driver.import_end(kept, success=True)
    elif base == "large":
        await run(driver, kept, os.urandom(MIB) * 6, MIB)
    await lengthen(driver, kept, 9)
    before, revisions = await read_all(driver, kept), await driver.revisions(kept.vid)
    kept_before = [driver._layers.ledger.find(kept.vid)]
    usage_bytes = await driver.usage_bytes(kept.vid)
    assert depth(driver, kept) == (9 if base == "none" else 10)
    for _ in range(2):
        await driver.tidy(kept)
        assert depth(driver, kept) == {"none": 1, "raw": 2, "large": 2}[base]
        assert await read_all(driver, kept) == before
        assert await driver.revisions(kept.vid) == revisions
    assert kept_before != [driver._layers.ledger.find(kept.vid)]
    driver = await again(driver)
    assert await read_all(driver, kept) == before
    await driver.revert(kept, revisions[0].id)
    reverted = await read_all(driver, kept)
    assert reverted != before
    assert reverted[7 * MIB : 7 * MIB + 1] == b"\x07"
    for _ in range(3):
        await driver.start(kept)
        await driver.stop(kept)
    await driver.tidy(kept)
    assert await driver.usage_bytes(kept.vid) < usage_bytes + MIB
    for path in (driver._dir_path / "layers").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    await driver.close()


async def test_a_merge_drops_the_layers_it_was_made_of(driver: Qcow2Driver) -> None:
    await driver.create(PRIVATE)
    await lengthen(driver, PRIVATE, 8)
    before = layers(driver)
    await driver.tidy(PRIVATE)
    assert layers(driver) == before, "eight are few enough"
    await lengthen(driver, PRIVATE, 1)
    await driver.tidy(PRIVATE)
    assert len(layers(driver)) == 1


async def test_a_guest_that_was_on_many_layers_goes_on_with_few(driver: Qcow2Driver) -> None:
    await driver.create(PRIVATE)
    await lengthen(driver, PRIVATE, 9)
    await write(driver, PRIVATE, b"running")
    size_bytes = 16 * MIB
    await driver.tidy(PRIVATE)
    resize_image(BlockImage(path=driver.path(PRIVATE), format="qcow2"), size_bytes)
    driver = await again(driver)
    assert read_qcow2(BlockImage(path=driver.path(PRIVATE), format="qcow2"), 0, 7) == b"running"
    await driver.stop(PRIVATE)
    assert depth(driver, PRIVATE) == 2
    assert len(layers(driver)) == 2
    assert await driver.size_bytes(PRIVATE) == size_bytes
    assert await read(driver, PRIVATE, 7) == b"running"
    assert (await read(driver, PRIVATE, 64, 7 * MIB)) == b"\x09" * 64
    await driver.close()


async def test_a_merge_and_an_export_go_on_beside_a_running_guest(driver: Qcow2Driver) -> None:
    await driver.create(PRIVATE)
    await lengthen(driver, PRIVATE, 9)
    started = await driver.start(PRIVATE)
    argv = ["qemu-io", "-f", "qcow2", str(started.path)]
    guest = await asyncio.create_subprocess_exec(*argv, stdin=PIPE, stdout=PIPE)
    assert guest.stdin is not None
    assert guest.stdout is not None
    try:
        guest.stdin.write(b"write -P 0x77 0 512\nflush\n")
        while b"wrote" not in await guest.stdout.readline():
            pass
        assert await read(driver, PRIVATE, 1) == b"\x01"
        await asyncio.gather(*(driver.tidy(PRIVATE) for _ in range(3)))
        assert depth(driver, PRIVATE) == 1
        guest.stdin.write(b"read -P 9 7M 64k\n")
    finally:
        said, _ = await guest.communicate(b"quit\n")
    assert b"failed" not in said
    await driver.stop(PRIVATE)
    assert await read(driver, PRIVATE, 512) == b"\x77" * 512
    assert depth(driver, PRIVATE) == 2


async def test_one_merge_of_a_volume_is_enough(
    driver: Qcow2Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(driver._volumes, "tidy", lambda volume: calls.append(volume.vid))
    await asyncio.gather(*(driver.tidy(volume) for volume in (PRIVATE, ROOT, PRIVATE, PRIVATE)))
    assert sorted(calls) == [PRIVATE.vid, ROOT.vid]
    await driver.tidy(PRIVATE)
    assert len(calls) == 3


async def test_a_merge_makes_no_snapshot_outdated(driver: Qcow2Driver) -> None:
    await driver.create(ROOT)
    await lengthen(driver, ROOT, 9)
    await driver.start(SNAPSHOT)
    await driver.tidy(ROOT)
    assert depth(driver, ROOT) == 1
    assert not await driver.is_outdated(SNAPSHOT)
    driver = await again(driver)
    assert not await driver.is_outdated(SNAPSHOT)
    await run(driver, ROOT, b"new")
    assert await driver.is_outdated(SNAPSHOT)
    await driver.close()


@pytest.mark.slow
async def test_a_commit_meanwhile_wins_over_a_merge(
    driver: Qcow2Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await driver.create(PRIVATE)
    await lengthen(driver, PRIVATE, 9)
    await write(driver, PRIVATE, b"later")
    loop = asyncio.get_running_loop()
    convert = qcow2_merge.convert

    def slow(*args: object) -> None:
        convert(*args)  # type: ignore[arg-type]
        asyncio.run_coroutine_threadsafe(driver.stop(PRIVATE), loop).result()

    monkeypatch.setattr(qcow2_merge, "convert", slow)
    await driver.tidy(PRIVATE)
    assert await read(driver, PRIVATE, 5) == b"later"
    assert depth(driver, PRIVATE) == 10
    assert len(layers(driver)) == 10, "the merged one was of no use"


@pytest.mark.slow
async def test_a_merge_that_is_cancelled_ends_by_itself(driver: Qcow2Driver) -> None:
    await driver.create(PRIVATE)
    await lengthen(driver, PRIVATE, 9)
    task = asyncio.ensure_future(driver.tidy(PRIVATE))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await driver.tidy(PRIVATE)
    assert depth(driver, PRIVATE) == 1
    assert len(layers(driver)) == 1


@pytest.mark.slow
async def test_a_start_merges_what_was_never_merged(driver: Qcow2Driver) -> None:
    await driver.create(ROOT)
    await run(driver, ROOT, b"first")
    for _ in range(22):
        await driver.start(ROOT)
        await driver.stop(ROOT)
    await driver.start(SNAPSHOT)
    assert depth(driver, ROOT) == 23
    await driver.stop(SNAPSHOT)
    await run(driver, ROOT, b"last", MIB)
    started = await driver.start(SNAPSHOT)
    assert depth(driver, ROOT) <= 4
    assert read_qcow2(started, 0, 5) == b"first"
    assert read_qcow2(started, MIB, 4) == b"last"


@pytest.mark.slow
async def test_a_life_of_forty_rounds_keeps_its_content(driver: Qcow2Driver) -> None:
    kept = replace(PRIVATE, revisions_to_keep=3)
    await driver.create(kept)
    expected = bytearray(8 * MIB)
    for number in range(40):
        started = await driver.start(kept)
        offset, data = number * 37 % 100 * 64 * 1024 + 512, bytes([number + 1]) * 3 * 512
        qemu_io(started, f"write -P {number + 1} {offset} {len(data)}")
        expected[offset : offset + len(data)] = data
        if number % 7 == 3:
            qemu_io(started, "discard 4M 1M")
            expected[4 * MIB : 5 * MIB] = bytes(MIB)
        await driver.stop(kept)
        if number % 5 == 0:
            driver = await again(driver)
        tidying = asyncio.ensure_future(driver.tidy(kept))
        if number % 2:
            await tidying
        else:  # its guest is back before it is over
            await driver.start(kept)
            await asyncio.gather(tidying, driver.stop(kept))
        assert depth(driver, kept) <= 12
        assert await read_all(driver, kept) == expected, number
        assert len(await driver.revisions(kept.vid)) == min(3, 2 * number + 2)
    assert len(layers(driver)) < 24
    assert await driver.usage_bytes(kept.vid) < 40 * MIB
    await driver.remove(kept.vid)
    assert layers(driver) == []
    await driver.close()


async def test_many_starts_merge_once(driver: Qcow2Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    await driver.create(ROOT)
    for _ in range(24):
        await driver.start(ROOT)
        await driver.stop(ROOT)
    runs: list[str] = []
    program = process.run

    def counted(argv: Sequence[str], **more: Any) -> process.Completed:
        runs.append(argv[1])
        return program(argv, **more)

    monkeypatch.setattr(process, "run", counted)
    guests = [replace(SNAPSHOT, vid=f"appvms/q{number}/root") for number in range(6)]
    await asyncio.gather(*(driver.start(guest) for guest in guests))
    assert len(runs) == 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
async def test_whatever_guests_do_a_merge_changes_nothing(
    driver: Qcow2Driver, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writes, discards and growth in any order, on layers of any size."""
    monkeypatch.setattr(qcow2_merge, "choose_below", lambda sizes: len(sizes) - seed % 4)
    choose = random.Random(seed)
    volume = replace(PRIVATE, size_bytes=MIB, revisions_to_keep=choose.choice([0, 2]))
    await driver.create(volume)
    expected = bytearray(choose.randrange(2) * choose.randbytes(choose.randrange(MIB)))
    if expected:
        (await driver.import_begin(volume, len(expected))).write_bytes(expected)
        await driver.import_end(volume, success=True)
    for _ in range(2):
        for _ in range(9):
            if choose.random() < 0.3:
                size_bytes = len(expected) + choose.randrange(1, 2 * MIB)
                await driver.resize(volume, size_bytes, running=False)
            started = await driver.start(volume)
            size_bytes = virtual_size_bytes(started.path)
            if choose.random() < 0.3:
                size_bytes += choose.randrange(1, 2048) * 512
                resize_image(started, size_bytes)
            expected.extend(bytes(size_bytes - len(expected)))
            for verb in choose.choices(["write", "write -z", "discard"], k=2):
                unit = 64 * 1024 if verb == "discard" else 512  # less of one may do nothing
                offset = choose.randrange(size_bytes // unit) * unit
                length = min(choose.randrange(1, 300 * 1024 // unit) * unit, size_bytes - offset)
                length -= length % unit
                qemu_io(started, f"{verb} {offset} {length}")
                filled = b"\xcd" if verb == "write" else b"\0"
                expected[offset : offset + length] = filled * length
            await driver.stop(volume)
        for _ in range(2):
            assert await read_all(driver, volume) == expected
            await driver.tidy(volume)
            assert depth(driver, volume) <= 4


# A pool that is not whole.


@pytest.mark.parametrize("harm", ["garbage", "directory", "empty", "other version"])
async def test_a_broken_pointer_breaks_its_volume_and_deletes_nothing(
    driver: Qcow2Driver, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    for volume in (ROOT, PRIVATE):
        await driver.create(volume)
        await run(driver, volume, b"data")
    await driver.start(SNAPSHOT)
    pointer = driver._dir_path / f"{ROOT.vid}.volume"
    good = pointer.read_bytes()
    if harm == "directory":
        pointer.unlink()
        pointer.mkdir()
    else:
        bad = {"garbage": b"\xff{", "empty": b""}.get(harm, good.replace(b'n": 1', b'n": 2', 1))
        pointer.write_bytes(bad)
    orphan = driver._dir_path / "layers" / "99.raw"
    orphan.touch()
    driver = await again(driver)
    assert "no layer is deleted" in caplog.text
    for call in (
        driver.start(ROOT), driver.create(ROOT),
        driver.start(replace(SNAPSHOT, vid="appvms/x/root")), driver.revisions(ROOT.vid),
        driver.snapshot(ROOT), driver.clone(PRIVATE, ROOT), driver.size_bytes(ROOT),
    ):  # fmt: skip
        with pytest.raises(StorageError, match=r"content is|another version") as raised:
            await call
        assert "debian" in str(raised.value)
    await run(driver, PRIVATE, b"more")
    await run(driver, PRIVATE, b"more")
    await driver.tidy(PRIVATE)
    await driver.stop(SNAPSHOT)
    assert await read(driver, PRIVATE, 4) == b"more"
    assert len(layers(driver)) == 5
    if harm == "directory":
        pointer.rmdir()
    pointer.write_bytes(good)
    driver = await again(driver)
    assert await read(driver, ROOT, 4) == b"data"
    assert not orphan.exists()
    await driver.close()


async def test_a_broken_volume_can_be_removed(driver: Qcow2Driver) -> None:
    await driver.create(PRIVATE)
    await run(driver, PRIVATE, b"data")
    (driver._dir_path / f"{PRIVATE.vid}.volume").write_bytes(b"?")
    driver = await again(driver)
    assert list(await driver.vids()) == [PRIVATE.vid]
    await driver.remove(PRIVATE.vid)
    assert await driver.vids() == ()
    await driver.create(PRIVATE)
    await run(driver, PRIVATE, b"new")
    driver = await again(driver)
    assert len(layers(driver)) == 1, "what was kept in doubt goes when there is none"
    await driver.close()


async def test_a_missing_layer_breaks_what_needs_it_and_nothing_else(
    driver: Qcow2Driver, caplog: pytest.LogCaptureFixture
) -> None:
    for volume in (ROOT, PRIVATE):
        await driver.create(volume)
        await run(driver, volume, b"data")
        await run(driver, volume, b"data")
    (driver._dir_path / "layers" / "1.qcow2").unlink()
    driver = await again(driver)
    assert "these layers are missing: 1" in caplog.text
    with pytest.raises(StorageError, match="layer 1 of its content is missing"):
        await driver.start(ROOT)
    assert await read(driver, PRIVATE, 4) == b"data"
    before = layers(driver)
    await driver.remove(PRIVATE.vid)
    assert layers(driver) == before
    await driver.close()


async def test_two_overlays_of_one_volume_are_both_kept(driver: Qcow2Driver) -> None:
    await driver.create(PRIVATE)
    started = await driver.start(PRIVATE)
    other = started.path.with_name("private-dirty-on-7.qcow2")
    other.write_bytes(started.path.read_bytes())
    driver = await again(driver)
    for call in (driver.stop(PRIVATE), driver.start(PRIVATE)):
        with pytest.raises(StorageError, match="two overlays"):
            await call
    assert started.path.exists()
    assert other.exists()
    await driver.remove(PRIVATE.vid)
    assert not started.path.parent.exists()
    await driver.close()


async def test_the_mark_tells_a_pool_from_what_is_none(driver: Qcow2Driver) -> None:
    mark = driver._dir_path / ".qubeward-pool"
    await driver.create(PRIVATE)
    text = mark.read_bytes()
    mark.write_bytes(b"another\n")
    other = Qcow2Driver(driver._dir_path)
    for call in (other.open(), other.setup()):
        with pytest.raises(StorageError, match="of another kind"):
            await call
    with pytest.raises(StorageError, match="of another kind"):
        await other.start(PRIVATE)
    mark.write_bytes(text)
    with pytest.raises(StorageError, match="not open"):
        await other.start(PRIVATE)
    await driver.teardown()
    assert mark.exists(), "there is data still"
    mark.unlink()
    with pytest.raises(StorageError, match=r"not a pool .* mounted"):
        await other.open()
    mark.write_bytes(text)
    await other.open()
    await other.start(PRIVATE)
    await other.close()


# Full disks.


@pytest.fixture
async def small(ext4: Path) -> AsyncIterator[Qcow2Driver]:
    """A pool on 16 MiB whose one volume has 8 MiB of data."""
    made = Qcow2Driver(ext4 / "pool")
    await made.setup()
    await made.create(PRIVATE)
    path = await made.import_begin(PRIVATE, 8 * MIB)
    path.write_bytes(os.urandom(MIB) * 8)
    await made.import_end(PRIVATE, success=True)
    yield made
    await made.close()


def fill(where: Path) -> None:
    """Leave not a block free."""
    with (where / "filler").open("wb", buffering=0) as file:
        for count in (MIB, 4096, 512):
            try:
                while file.write(bytes(count)):
                    os.fsync(file.fileno())
            except OSError:
                continue


async def test_an_import_to_a_full_disk_keeps_the_old_content(small: Qcow2Driver) -> None:
    before = await read_all(small, PRIVATE)
    path = await small.import_begin(PRIVATE, 12 * MIB)
    with pytest.raises(OSError, match="No space left"):
        path.write_bytes(os.urandom(MIB) * 12)
    await small.import_end(PRIVATE, success=False)
    assert await read_all(small, PRIVATE) == before
    assert layers(small) == ["1.raw"]
    assert not path.exists()


async def test_a_start_and_a_commit_on_a_full_disk_lose_nothing(small: Qcow2Driver) -> None:
    where = small._dir_path
    await write(small, PRIVATE, b"new")
    fill(where)
    before = sorted(path.name for path in where.rglob("*"))
    for call in (small.stop(PRIVATE), small.start(PRIVATE)):
        with pytest.raises(StorageError, match=r"No space left on device \(ENOSPC\)") as raised:
            await call
        assert str(where) not in str(raised.value)
        assert sorted(path.name for path in where.rglob("*")) == before
    (where / "filler").unlink()
    await small.stop(PRIVATE)
    fill(where)
    snapshot = replace(SNAPSHOT, vid="appvms/work/root", source=PRIVATE.vid)
    before = sorted(path.name for path in where.rglob("*"))
    for volume in (PRIVATE, snapshot):
        with pytest.raises(StorageError, match=r"No space left on device \(ENOSPC\)"):
            await small.start(volume)
        assert sorted(path.name for path in where.rglob("*")) == before
        assert small._layers.ledger.find_overlay(volume.vid) is None
    (where / "filler").unlink()
    for volume in (PRIVATE, snapshot):
        assert read_qcow2(await small.start(volume), 0, 3) == b"new"


async def test_a_merge_on_a_full_disk_leaves_all_as_it_was(small: Qcow2Driver) -> None:
    await small.create(ROOT)
    await lengthen(small, ROOT, 9)
    before, names = await read_all(small, ROOT), layers(small)
    fill(small._dir_path)
    with pytest.raises(StorageError, match="No space left on device") as raised:
        await small.tidy(ROOT)
    assert str(small._dir_path) not in str(raised.value)
    assert layers(small) == names
    with pytest.raises(StorageError, match="No space left on device"):
        await small.export_begin(ROOT)
    assert not list((small._dir_path / "vm-templates" / "debian").glob("*export*"))
    (small._dir_path / "filler").unlink()
    assert await read_all(small, ROOT) == before
    await small.tidy(ROOT)
    assert await read_all(small, ROOT) == before


async def test_what_a_crash_left_half_made_is_swept_away(driver: Qcow2Driver) -> None:
    await driver.create(PRIVATE)
    await run(driver, PRIVATE, b"data")
    await driver.import_begin(PRIVATE, MIB)
    before = sorted(driver._dir_path.rglob("*"))
    for name in (
        "layers/7.new", "layers/7.raw", "layers/8-on-7.qcow2", "appvms/work/private-export.raw",
        "appvms/work/private.volume.new", "appvms/work/private-dirty-on-1.qcow2.new",
        "vm-templates/debian/root-export.raw.new",
    ):  # fmt: skip
        (driver._dir_path / name).parent.mkdir(exist_ok=True)
        (driver._dir_path / name).touch()
    foreign = driver._dir_path / "layers" / "notes.txt"
    foreign.touch()
    driver = await again(driver)
    (driver._dir_path / "vm-templates" / "debian").rmdir()
    assert sorted(driver._dir_path.rglob("*")) == sorted([*before, foreign])
    await driver.close()


def test_changes_of_one_pointer_wait_for_each_other(tmp_path: Path) -> None:
    layers = Layers(tmp_path)
    layers.ledger.open({}, {}, {}, ())
    path = tmp_path / "private.volume"
    new = Pointer(content=Content(layer=0, size_bytes=MIB, time_s=0.0))

    def add() -> None:
        for _ in range(10):
            layers.change(PRIVATE.vid, path, lambda now: (now or new).snapshot())

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = layers.ledger.find(PRIVATE.vid)
    assert found == parse_pointer(PRIVATE.vid, path.read_bytes())
    assert len(found.kept) == 40


@pytest.mark.slow
async def test_a_start_that_can_not_merge_starts_all_the_same(small: Qcow2Driver) -> None:
    await small.create(ROOT)
    await lengthen(small, ROOT, 24)
    fill(small._dir_path)
    filler = small._dir_path / "filler"
    os.truncate(filler, filler.stat().st_size - MIB // 4)  # for an overlay, and no merged layer
    started = await small.start(SNAPSHOT)
    assert depth(small, ROOT) == 24
    assert read_qcow2(started, 7 * MIB, 1) == b"\x18"


# Many volumes.


async def test_many_volumes_start_and_stop_together(driver: Qcow2Driver) -> None:
    await driver.create(ROOT)
    await run(driver, ROOT, b"template")
    volumes = [replace(PRIVATE, vid=f"appvms/q{n}/private") for n in range(24)]

    async def live(number: int, volume: VolumeSpec) -> None:
        await driver.create(volume)
        root = replace(SNAPSHOT, vid=f"appvms/q{number}/root")
        for _ in range(3):
            await driver.start(root)
            await driver.start(volume)
            await asyncio.sleep(0)
            await driver.stop(volume)
            await driver.stop(root)
        if number % 2:
            await driver.clone(volume, ROOT)
            await driver.import_end(volume, success=True)
        if number % 3 == 0:
            await driver.remove(volume.vid)

    async def change() -> None:
        for _ in range(10):
            await driver.start(ROOT)
            await driver.stop(ROOT)
            await driver.tidy(ROOT)

    await asyncio.gather(change(), *(live(n, volume) for n, volume in enumerate(volumes)))
    for number, volume in enumerate(volumes):
        if number % 3:
            expected = b"template" if number % 2 else bytes(8)
            assert await read(driver, volume, 8) == expected
    before = layers(driver)
    driver = await again(driver)
    assert layers(driver) == before, "nothing was left for the next opening to sweep"
    assert driver._layers.ledger.is_complete
    for vid in await driver.vids():
        await driver.remove(vid)
    assert layers(driver) == []
    await driver.close()


@pytest.mark.slow
async def test_a_pool_of_a_thousand_volumes_opens_at_once(
    driver: Qcow2Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # which takes most of the time
    for number in range(1000):
        volume = replace(PRIVATE, vid=f"appvms/q{number}/private")
        await driver.create(volume)
        await driver.start(volume)
        await driver.stop(volume)
    await driver.close()
    driver = Qcow2Driver(driver._dir_path)
    begin_s = time.process_time()
    await driver.open()
    assert time.process_time() - begin_s < 0.5
    assert len(await driver.vids()) == 1000
    await driver.close()
