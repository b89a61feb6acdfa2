"""A full disk: the call fails and says so, the old content stays, nothing half made stays."""

import contextlib
import os
from pathlib import Path
from typing import Any

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


KIB = 1 << 10
SMALL = VolumeSpec(
    vid="appvms/work/private", size_bytes=512 * KIB, save_on_stop=True, revisions_to_keep=1
)
#: How much is left, from nothing to more than it takes.
LEFT_KIB = (*range(0, 64, 4), *range(64, 1600, 96))


def leave(where: Path, left_kib: int) -> None:
    """Take all the space of a file system but so much."""
    filler = where / "filler"
    filler.unlink(missing_ok=True)
    stat = os.statvfs(where)
    with filler.open("wb") as file:
        with contextlib.suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, stat.f_bavail * stat.f_frsize - (left_kib << 10))
        os.fsync(file.fileno())
    while left_kib < 8:
        try:
            (where / f"crumb{len(list(where.iterdir()))}").write_bytes(bytes(4096))
        except OSError:
            return


def free_all(where: Path) -> None:
    for path in (where / "filler", *where.glob("crumb*")):
        path.unlink(missing_ok=True)


async def check(driver: Driver, old: bytes, new: bytes) -> bytes:
    """The volume is what it was or what it was to be; then it can be used as ever."""
    committed = driver.path(SMALL).with_name("private.img").read_bytes()
    assert committed in (old, new)
    image = await driver.start(SMALL)
    assert image.path.read_bytes() == committed
    await driver.stop(SMALL)
    return committed


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["file", "reflink-fallback"])
@pytest.mark.parametrize("act", ["import", "stop", "revert", "clone", "snapshot", "resize"])
async def test_with_any_amount_of_space_left_it_is_done_or_it_is_not(
    ext4: Path, kind: str, act: str
) -> None:
    driver = open_pool(kind, ext4 / "pool")
    await driver.setup()
    old, new = os.urandom(512 * KIB), os.urandom(512 * KIB)
    other = VolumeSpec(vid="appvms/other/private", size_bytes=512 * KIB, save_on_stop=True)
    seen = set()
    for left_kib in LEFT_KIB:
        for volume, data in ((SMALL, old), (other, new)):
            await driver.remove(volume.vid)
            await driver.create(volume)
            for _ in range(2):  # the first is the revision that is gone back to
                (await driver.start(volume)).path.write_bytes(data)
                await driver.stop(volume)
        image = await driver.start(SMALL) if act == "stop" else None
        leave(ext4, left_kib)
        said = await attempt(driver, act, other, image, new)
        assert not said or "ENOSPC" in said or "No space" in said
        seen.add(not said)
        free_all(ext4)
        await driver.import_end(SMALL, success=False)
        now = await check(driver, old, old + bytes(MIB) if act == "resize" else new)
        assert now == old or act not in ("revert", "snapshot")
        left_over = {path.name for path in image_files(ext4) if "@" not in path.name}
        assert left_over == {"private.img"}
    assert seen == {True, False} or act in ("stop", "revert", "snapshot", "resize")


async def attempt(driver: Driver, act: str, other: VolumeSpec, image: Any, new: bytes) -> str:
    """Try something, and return what kept it from being done, or nothing."""
    try:
        if act == "import":
            fill(await driver.import_begin(SMALL, 512 * KIB), new)
            await driver.import_end(SMALL, success=True)
        elif act == "stop":
            fill(image.path, new)  # a guest's own errors are the guest's
            await driver.stop(SMALL)
        elif act == "clone":
            await driver.clone(SMALL, other)
            await driver.import_end(SMALL, success=True)
        elif act == "revert":
            await driver.revert(SMALL, (await driver.revisions(SMALL.vid))[0].id)
        elif act == "snapshot":
            await driver.snapshot(SMALL)
        else:
            await driver.resize(SMALL, 512 * KIB + MIB, running=False)
    except (StorageError, OSError) as error:
        return str(error)
    return ""


def fill(path: Path, data: bytes) -> None:
    with path.open("r+b", buffering=0) as file:
        file.write(data)
        os.fsync(file.fileno())


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
