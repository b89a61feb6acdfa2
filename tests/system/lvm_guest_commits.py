"""Commits to a volume again and again, until the power is cut; after the next boot, sees what is left.

Runs inside a guest, with its LVM or ZFS. Each content is a number, at several places of the volume.
"""

import asyncio
import os
import sys
from dataclasses import replace
from pathlib import Path

from qubeward.storage.driver import Driver, VolumeSpec
from qubeward.storage.drivers import open_driver

SIZE = 8 << 20
PLACES = (0, 123 * 4096, SIZE // 2, SIZE - 4096)


def open_pool() -> Driver:
    if "QUBEWARD_TEST_ZFS" in os.environ:
        return open_driver("zfs", {"container": os.environ["QUBEWARD_TEST_ZFS"]})
    group, pool = os.environ["QUBEWARD_TEST_LVM"].split("/")
    return open_driver("lvm_thin", {"volume_group": group, "thin_pool": pool})


def write(path: Path, number: int) -> None:
    with path.open("r+b") as file:
        for place in PLACES:
            file.seek(place)
            file.write(b"%08d" % number)


def read(path: Path) -> int:
    with path.open("rb") as file:
        found = set()
        for place in PLACES:
            file.seek(place)
            found.add(file.read(8))
    assert len(found) == 1, f"half of one content and half of another: {found}"
    return int(found.pop().replace(b"\0", b"0"))


async def read_committed(driver: Driver, volume: VolumeSpec) -> int:
    number = read(await driver.export_begin(volume))
    await driver.export_end(volume)
    return number


async def recover(driver: Driver, volume: VolumeSpec) -> int:
    """Do what the daemon does after a crash; return what is committed then."""
    await driver.stop(volume)
    number = await read_committed(driver, volume)
    assert len(await driver.revisions(volume.vid)) <= volume.revisions_to_keep + 1
    # A start that was cut off before its guest wrote was committed too: as it was.
    for wanted in ({number - 1, number}, {number}):
        newest = (await driver.revisions(volume.vid))[-1].id
        await driver.revert(replace(volume, revisions_to_keep=9), newest)
        assert await read_committed(driver, volume) in wanted
    assert list(await driver.vids()) == [volume.vid]
    return number


async def main() -> None:
    driver = open_pool()
    volume = VolumeSpec(
        vid=driver.vid("work", "private", template=False), size_bytes=SIZE, save_on_stop=True,
        revisions_to_keep=2,
    )  # fmt: skip
    await driver.open()
    number = 0
    if await driver.vids():
        number = await recover(driver, volume)
        print("found", number, flush=True)
    else:
        await driver.create(volume)
    while True:
        number += 1
        write((await driver.start(volume)).path, number)
        await driver.stop(volume)
        print("committed", number, flush=True)


os.chdir("/")
sys.exit(asyncio.run(main()))
