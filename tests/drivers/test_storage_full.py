"""A full disk: the call fails and says so, the old content stays, nothing half made stays."""

import os
from pathlib import Path

import pytest

from drivers.conftest import image_files, open_pool
from qubeward.errors import StorageError
from qubeward.storage.driver import Driver, VolumeSpec

MIB = 1 << 20
PRIVATE = VolumeSpec(vid="appvms/work/private", size_bytes=12 * MIB, save_on_stop=True)
SNAPSHOT = VolumeSpec(
    vid="appvms/dvm/root", size_bytes=12 * MIB, source=PRIVATE.vid, snap_on_start=True
)


async def half_full(kind: str, where: Path) -> Driver:
    """A pool on 16 MiB whose one volume has 9 MiB of data."""
    driver = open_pool(kind, where / "pool")
    await driver.setup()
    await driver.create(PRIVATE)
    (await driver.start(PRIVATE)).path.write_bytes(os.urandom(MIB) * 9)
    await driver.stop(PRIVATE)
    return driver


@pytest.mark.parametrize("kind", ["file", "reflink-fallback"])
@pytest.mark.parametrize("volume", [PRIVATE, SNAPSHOT], ids=["origin", "snapshot"])
async def test_a_start_on_a_full_disk_fails_and_keeps_all(
    ext4: Path, kind: str, volume: VolumeSpec
) -> None:
    driver = await half_full(kind, ext4)
    committed = ext4 / "pool" / f"{PRIVATE.vid}.img"
    before = committed.read_bytes()
    for _ in range(2):
        with pytest.raises(StorageError, match=r"No space left on device \(ENOSPC\)"):
            await driver.start(volume)
        assert image_files(ext4) == [committed]
    await driver.stop(volume)
    assert committed.read_bytes() == before


async def test_an_import_to_a_full_disk_keeps_the_old_content(ext4: Path) -> None:
    driver = await half_full("file", ext4)
    committed = ext4 / "pool" / f"{PRIVATE.vid}.img"
    before = committed.read_bytes()
    path = await driver.import_begin(PRIVATE, 12 * MIB)
    with pytest.raises(OSError, match="No space left"):
        path.write_bytes(os.urandom(MIB) * 12)
    await driver.import_end(PRIVATE, success=False)
    assert committed.read_bytes() == before
    assert image_files(ext4) == [committed]


async def test_a_start_by_clone_needs_no_space_of_its_own(btrfs: Path) -> None:
    driver = open_pool("reflink-btrfs", btrfs / "full")
    await driver.setup()
    volume = VolumeSpec(vid="appvms/big/private", size_bytes=128 * MIB, save_on_stop=True)
    await driver.create(volume)
    (await driver.start(volume)).path.write_bytes(os.urandom(MIB) * 64)
    await driver.stop(volume)
    images = [
        await driver.start(
            VolumeSpec(
                vid=f"appvms/d{i}/root", size_bytes=MIB, source=volume.vid, snap_on_start=True
            )
        )
        for i in range(8)
    ]
    assert all(image.path.stat().st_size >= 64 * MIB for image in images)
    for vid in await driver.vids():
        await driver.remove(vid)
