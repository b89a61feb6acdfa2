"""What a real LVM does that the contract doesn't ask for. Runs inside a guest."""

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from qubeward.errors import StorageError
from qubeward.storage.driver import VolumeSpec
from qubeward.storage.lvm import LvmDriver

SIZE = 4 << 20
ROOT = VolumeSpec(vid="guest/vm-debian-root", size_bytes=SIZE, save_on_stop=True)
SNAPSHOT = VolumeSpec(
    vid="guest/vm-work-root", size_bytes=SIZE, source=ROOT.vid, snap_on_start=True
)


@pytest.fixture
async def driver() -> AsyncIterator[LvmDriver]:
    made = LvmDriver("guest", "pool")
    await made.create(ROOT)
    yield made
    await made.remove(SNAPSHOT.vid)
    await made.remove(ROOT.vid)
    assert await made.vids() == []


def write(path: Path, data: bytes) -> None:
    with path.open("r+b") as file:
        file.write(data)


def lvm(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True)


def names(driver: LvmDriver) -> set[str]:
    return set(driver._volumes._pool.scan("test").lvs)


async def commit(driver: LvmDriver, data: bytes) -> None:
    write((await driver.start(ROOT)).path, data)
    await driver.stop(ROOT)


async def test_an_export_goes_on_while_its_volume_is_committed(driver: LvmDriver) -> None:
    await commit(driver, b"one")
    with (await driver.export_begin(ROOT)).open("rb") as exported:
        async with asyncio.timeout(5):  # LVM waits that long for what is in use
            await commit(driver, b"two")
        assert len(names(driver)) == 2
        assert exported.read(3) == b"one"
    await driver.tidy(ROOT)
    assert names(driver) == {"vm-debian-root"}
    assert (await driver.export_begin(ROOT)).read_bytes()[:3] == b"two"


async def test_what_a_boot_left_inactive_is_found_and_used(driver: LvmDriver) -> None:
    await commit(driver, b"one")
    write((await driver.start(ROOT)).path, b"two")
    await driver.start(SNAPSHOT)
    lvm("vgchange", "--activate", "n", "guest")
    assert not (Path("/dev/guest") / "vm-debian-root").exists()
    assert not await driver.is_outdated(SNAPSHOT)
    assert (await driver.export_begin(ROOT)).read_bytes()[:3] == b"one"
    await driver.stop(ROOT)
    assert await driver.is_outdated(SNAPSHOT)
    assert (await driver.export_begin(ROOT)).read_bytes()[:3] == b"two"
    assert (await driver.start(SNAPSHOT)).path.read_bytes()[:3] == b"two"


async def test_create_knows_an_inactive_volume_with_data(driver: LvmDriver) -> None:
    lvm("vgchange", "--activate", "n", "guest")
    await driver.create(ROOT)
    await commit(driver, b"one")
    lvm("vgchange", "--activate", "n", "guest")
    with pytest.raises(StorageError, match="a volume with data"):
        await driver.create(ROOT)


def cut_power_in_copy(source: str, name: str) -> None:
    """Leave the metadata as LVM has it after the first half of `lvcreate --snapshot`."""
    lvm("vgchange", "--activate", "n", "guest")
    lvm("vgcfgbackup", "--file", "/tmp/group", "guest")
    text = Path("/tmp/group").read_text()
    (block,) = re.findall(rf"\n\t\t{source} \{{.*?\n\t\t\}}\n", text, re.DOTALL)
    (pool,) = re.findall(r"\n\t\tpool \{.*?\n\t\t\}\n", text, re.DOTALL)
    number = int(re.search(r"transaction_id = (\d+)", pool)[1])
    copy = block.replace(f"\t{source} {{", f"\t{name} {{")
    copy = re.sub(r'\bid = "(.*)"', lambda match: f'id = "{match[1][:-6]}cutcut"', copy)
    copy = re.sub(r"transaction_id = \d+", f"transaction_id = {number}", copy)
    copy = re.sub(r"device_id = \d+", f'device_id = 99\norigin = "{source}"', copy)
    message = f'transaction_id = {number + 1}\nmessage1 {{ create = "{name}" }}'
    sent = re.sub(r"transaction_id = \d+", message, pool)
    Path("/tmp/group").write_text(text.replace(pool, sent).replace(block, block + copy))
    lvm("vgcfgrestore", "--force", "--yes", "--file", "/tmp/group", "guest")


@pytest.mark.parametrize("opened", [True, False])
async def test_what_a_power_cut_kept_lvm_from_is_made_before_it_is_needed(
    driver: LvmDriver, opened: bool
) -> None:
    await commit(driver, b"one")
    cut_power_in_copy("vm-debian-root", "vm-debian-root-snap")
    if opened:
        await driver.open()
    await driver.stop(ROOT)
    assert names(driver) == {"vm-debian-root"}
    assert (await driver.export_begin(ROOT)).read_bytes()[:3] == b"one"


async def test_what_a_power_cut_left_of_a_copy_comes_out_empty_without_its_origin(
    driver: LvmDriver,
) -> None:
    """This is why it is made before anything is removed."""
    await commit(driver, b"one")
    cut_power_in_copy("vm-debian-root", "vm-debian-root-1700000000-back")
    lvm("lvremove", "--yes", "guest/vm-debian-root")
    lvm("lvrename", "guest", "vm-debian-root-1700000000-back", "vm-debian-root")
    assert (await driver.export_begin(ROOT)).read_bytes()[:3] == bytes(3)


async def test_the_usage_is_what_was_written(driver: LvmDriver) -> None:
    before = await driver.usage()
    await commit(driver, b"x" * SIZE)
    after = await driver.usage()
    assert before is not None
    assert after is not None
    assert await driver.usage_bytes(ROOT.vid) == SIZE
    assert SIZE / 2 < after.usage_bytes - before.usage_bytes < SIZE * 2
    assert 0 < (after.metadata_usage_bytes or 0) < (after.metadata_size_bytes or 0) == 32 << 20


async def test_a_name_that_lvm_keeps_for_itself_is_refused_in_its_words(driver: LvmDriver) -> None:
    reserved = replace(ROOT, vid="guest/vm-a_tdata-root")
    with pytest.raises(StorageError, match=r"lvcreate: .*reserved"):
        await driver.create(reserved)


async def test_a_pool_without_zeroing_is_refused(driver: LvmDriver) -> None:
    for zero, works in (("n", False), ("y", True)):
        lvm("lvchange", "--zero", zero, "guest/pool")
        if works:
            await driver.open()
        else:
            with pytest.raises(StorageError, match="does not zero new blocks"):
                await driver.open()


async def test_a_group_or_a_pool_that_is_not_there_is_named(driver: LvmDriver) -> None:
    await driver.create(SNAPSHOT)
    for group, pool, why in (
        ("nosuch", "pool", 'Volume group "nosuch" not found'),
        ("guest", "nosuch", 'Failed to find logical volume "guest/nosuch"'),
        ("guest", "vm-debian-root", "it is no thin pool"),
    ):
        with pytest.raises(StorageError, match=why):
            await LvmDriver(group, pool).open()
