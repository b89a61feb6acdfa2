"""Cloning and probing, on file systems that can and that can't."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from drivers.conftest import image_files
from qubeward.errors import StorageError
from qubeward.host import files
from qubeward.storage.driver import VolumeSpec
from qubeward.storage.drivers import default_driver, open_driver


@pytest.mark.parametrize("kind", ["btrfs", "xfs"])
async def test_a_clone_is_equal_and_apart(request: Any, kind: str, tmp_path: Path) -> None:
    where = request.getfixturevalue(kind)
    assert files.can_reflink(where)
    assert default_driver(where / "not" / "yet", "auto", reflink_fallback=False) == "file-reflink"
    source, dest = where / f"{tmp_path.name}-a", where / f"{tmp_path.name}-b"
    source.write_bytes(b"x" * 100_000)
    files.clone_file(source, dest)
    with dest.open("r+b") as file:
        file.write(b"y")
    assert source.read_bytes() == b"x" * 100_000
    assert dest.read_bytes() == b"y" + b"x" * 99_999
    with pytest.raises(FileExistsError):
        files.clone_file(source, dest)
    assert dest.exists()


async def test_a_clone_to_another_file_system_is_refused(btrfs: Path, tmp_path: Path) -> None:
    source = btrfs / "other"
    source.write_bytes(b"x")
    with pytest.raises(files.CloneRefusedError):
        files.clone_file(source, tmp_path / "dest")
    assert image_files(tmp_path) == []


@pytest.mark.parametrize("kind", ["btrfs", "xfs"])
async def test_what_a_volume_shares_with_its_revisions_counts_once(
    request: Any, kind: str, tmp_path: Path
) -> None:
    where = request.getfixturevalue(kind) / tmp_path.name
    driver = open_driver("file-reflink", {"dir_path": str(where)})
    await driver.setup()
    volume = VolumeSpec(
        vid="appvms/work/private", size_bytes=8 << 20, save_on_stop=True, revisions_to_keep=3
    )
    await driver.create(volume)
    for number in range(4):
        image = await driver.start(volume)
        with image.path.open("r+b") as file:
            if number == 0:
                file.write(b"x" * (4 << 20))
            file.seek((4 + number) << 20)
            file.write(b"y" * 4096)
        await driver.stop(volume)
    assert len(await driver.revisions(volume.vid)) == 3
    assert 4 << 20 <= await driver.usage_bytes(volume.vid) < 5 << 20
    await driver.remove(volume.vid)


async def test_setup_refuses_a_file_system_without_clones_and_says_what_to_do(ext4: Path) -> None:
    options = {"dir_path": str(ext4 / "pool")}
    with pytest.raises(StorageError, match=r"btrfs or XFS.*reflink_fallback") as raised:
        await open_driver("file-reflink", options).setup()
    assert str(ext4 / "pool") in str(raised.value)
    assert not files.can_reflink(ext4)


async def test_setup_check_off_fails_at_the_first_start_instead(ext4: Path) -> None:
    options = {"dir_path": str(ext4 / "pool"), "setup_check": "False"}
    driver = open_driver("file-reflink", options)
    await driver.setup()
    volume = VolumeSpec(vid="appvms/work/private", size_bytes=4096, save_on_stop=True)
    await driver.create(volume)
    with pytest.raises(StorageError, match="can't share blocks"):
        await driver.start(volume)
    assert [path.name for path in image_files(ext4)] == ["private.img"]


async def test_the_fallback_copies_and_says_that_it_is_not_cheap(ext4: Path) -> None:
    options = {"dir_path": str(ext4 / "pool")}
    driver = open_driver("file-reflink", options, {"reflink_fallback": "True"})
    assert driver.capabilities.cheap_snapshots
    await driver.setup()
    assert not driver.capabilities.cheap_snapshots


async def test_the_default_driver_is_what_the_file_system_can_do(ext4: Path) -> None:
    assert default_driver(ext4 / "not" / "yet", "auto", reflink_fallback=False) == "qcow2"
    assert default_driver(ext4, "qcow2", reflink_fallback=False) == "qcow2"
    assert default_driver(ext4, "file", reflink_fallback=False) == "file"
    assert default_driver(ext4, "file-reflink", reflink_fallback=True) == "file-reflink"
    with pytest.raises(StorageError, match="FICLONE"):
        default_driver(ext4, "file-reflink", reflink_fallback=False)


async def test_a_full_disk_keeps_no_pool_from_opening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_full(_: Path) -> bool:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "can_reflink", is_full)
    driver = open_driver("file-reflink", {"dir_path": str(tmp_path / "pool")}, {})
    await driver.setup()
    await driver.open()
    assert driver.capabilities.cheap_snapshots
    await driver.close()
