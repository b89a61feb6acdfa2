"""What a real ZFS does that the contract doesn't ask for. Runs inside a guest."""

import os
import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from qubeward.errors import StorageError
from qubeward.storage import zfs_device
from qubeward.storage.driver import VolumeSpec
from qubeward.storage.zfs import ZfsDriver

MIB = 1 << 20
C = "guest/qubes"
ROOT = VolumeSpec(vid=f"{C}/debian/root", size_bytes=8 * MIB, save_on_stop=True)
SNAPSHOT = VolumeSpec(vid=f"{C}/work/root", size_bytes=8 * MIB, source=ROOT.vid, snap_on_start=True)


@pytest.fixture
async def driver() -> AsyncIterator[ZfsDriver]:
    made = ZfsDriver(C)
    await made.create(ROOT)
    yield made
    for vid in await made.vids():
        await made.remove(vid)
    assert zfs("list", "-H", "-r", "-o", "name", C) == f"{C}\n", "its qubes' file systems are left"


def zfs(*words: str) -> str:
    return subprocess.run(["zfs", *words], check=True, capture_output=True, text=True).stdout


def write(path: Path, data: bytes) -> None:
    with path.open("r+b") as file:
        file.write(data)


async def commit(driver: ZfsDriver, data: bytes) -> None:
    write((await driver.start(ROOT)).path, data)
    await driver.stop(ROOT)


async def test_a_device_knows_its_name(driver: ZfsDriver) -> None:
    image = await driver.start(ROOT)
    assert zfs_device.find_name(image.path) == ROOT.vid
    assert zfs("get", "-H", "-o", "value", "volmode", ROOT.vid) == "dev\n"


async def test_an_export_goes_on_while_its_volume_is_committed(driver: ZfsDriver) -> None:
    await commit(driver, b"one")
    with (await driver.export_begin(ROOT)).open("rb") as exported:
        await commit(driver, b"two")
        assert exported.read(3) == b"one"
    await driver.export_end(ROOT)
    assert (await driver.export_begin(ROOT)).read_bytes()[:3] == b"two"
    await driver.export_end(ROOT)


async def test_a_template_may_go_while_qubes_run_on_it(driver: ZfsDriver) -> None:
    await commit(driver, b"one")
    first = await driver.start(SNAPSHOT)
    await commit(driver, b"two")
    second = await driver.start(replace(SNAPSHOT, vid=f"{C}/other/root"))
    with first.path.open("rb") as one, second.path.open("rb") as two:
        await driver.remove(ROOT.vid)
        assert one.read(3) == b"one"
        assert two.read(3) == b"two"
    assert await driver.is_outdated(SNAPSHOT)
    await driver.stop(SNAPSHOT)
    await driver.stop(replace(SNAPSHOT, vid=f"{C}/other/root"))
    assert await driver.vids() == []


async def test_nothing_written_is_found_to_be_nothing_new(driver: ZfsDriver) -> None:
    many = replace(ROOT, revisions_to_keep=9)
    await driver.start(many)
    await driver.stop(many)
    await commit(driver, b"one")
    kept = await driver.snapshot(many)
    await driver.start(many)
    await driver.stop(many)
    assert (await driver.revisions(ROOT.vid))[-1] == kept


async def test_the_usage_is_what_was_written(driver: ZfsDriver) -> None:
    many = replace(ROOT, revisions_to_keep=9)
    noise = os.urandom(4 * MIB)
    write((await driver.start(many)).path, noise)
    await driver.stop(many)
    await driver.snapshot(many)
    assert 4 * MIB <= await driver.usage_bytes(ROOT.vid) < 5 * MIB
    write((await driver.start(many)).path, bytes(reversed(noise)))
    await driver.stop(many)
    assert 8 * MIB <= await driver.usage_bytes(ROOT.vid) < 9 * MIB
    await driver.start(SNAPSHOT)
    assert 4 * MIB <= await driver.usage_bytes(SNAPSHOT.vid) < 5 * MIB
    usage = await driver.usage()
    assert usage is not None
    assert 8 * MIB <= usage.usage_bytes < 10 * MIB
    assert usage.size_bytes > 1024 * MIB


async def test_snapshots_of_others_go_with_the_volume(driver: ZfsDriver) -> None:
    zfs("snapshot", f"{ROOT.vid}@backup-of-mine")
    await commit(driver, b"one")
    assert await driver.revisions(ROOT.vid) == []
    assert f"{ROOT.vid}@backup-of-mine" in zfs("list", "-H", "-t", "snapshot", "-o", "name")


async def test_a_container_that_is_not_there_is_named() -> None:
    with pytest.raises(StorageError, match="zfs: cannot open 'guest/nosuch'"):
        await ZfsDriver("guest/nosuch").open()
