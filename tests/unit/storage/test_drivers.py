from pathlib import Path

import pytest

from qubeward.errors import BadValueError, ProtocolError, StorageError
from qubeward.storage.driver import VolumeSpec
from qubeward.storage.drivers import DRIVERS, open_driver
from qubeward.storage.memory import MemoryImage
from qubeward.storage.options import parse_boolean, parse_directory, parse_revisions


def test_the_table_names_what_upstream_names() -> None:
    rows = [row for row in DRIVERS.values() if not row.for_tests]
    assert {row.name: sorted(option.name for option in row.options) for row in rows} == {
        "file": ["dir_path", "ephemeral_volatile", "revisions_to_keep"],
        "file-reflink": ["dir_path", "ephemeral_volatile", "revisions_to_keep", "setup_check"],
        "linux-kernel": ["dir_path"],
    }
    assert all(DRIVERS[name].name == name for name in DRIVERS)


@pytest.mark.parametrize("row", DRIVERS.values(), ids=lambda row: row.name)
async def test_every_row_makes_a_driver_that_sets_up(row, tmp_path: Path) -> None:
    options = {"dir_path": str(tmp_path / "pool")} if row.options[0].required else {}
    driver = open_driver(row.name, options, {"reflink_fallback": "True", "default_driver": "auto"})
    assert driver.capabilities == row.capabilities
    for _ in range(2):
        await driver.setup()
    assert list(await driver.vids()) == []


@pytest.mark.parametrize("row", [r for r in DRIVERS.values() if r.options[0].required])
def test_options_are_checked(row, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="dir_path is missing"):
        open_driver(row.name, {})
    with pytest.raises(BadValueError, match="absolute"):
        open_driver(row.name, {"dir_path": "relative"})
    with pytest.raises(ProtocolError, match="nonsense"):
        open_driver(row.name, {"dir_path": str(tmp_path), "nonsense": "1"})
    with pytest.raises(ProtocolError, match="reflink_fallback"):
        open_driver(row.name, {"dir_path": str(tmp_path), "reflink_fallback": "True"})


def test_an_unknown_driver_is_an_error() -> None:
    with pytest.raises(StorageError, match="no such driver"):
        open_driver("floppy", {})


async def test_a_directory_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    driver = open_driver("file", {"dir_path": str(tmp_path / "file" / "pool")})
    with pytest.raises(StorageError, match=r"pool directory .*Not a directory \(ENOTDIR\)"):
        await driver.setup()


@pytest.mark.parametrize("text", ["", "a", "/a/../b", "/a\0", "./a"])
def test_a_directory_is_absolute(text: str) -> None:
    assert parse_directory("/a/b") == Path("/a/b")
    with pytest.raises(BadValueError):
        parse_directory(text)


def test_booleans_and_numbers_have_one_meaning_or_none() -> None:
    assert [parse_boolean(text) for text in ("True", "yes", "1")] == [True] * 3
    assert [parse_boolean(text) for text in ("False", "off", "0")] == [False] * 3
    assert [parse_revisions(text) for text in ("-1", "0", "12")] == [-1, 0, 12]
    for text in ("", "maybe", "2"):
        with pytest.raises(BadValueError):
            parse_boolean(text)
    for text in ("", "-2", "1.5", " 1", "1_0", "٣", "9" * 10):
        with pytest.raises(BadValueError):
            parse_revisions(text)


def test_a_memory_image_reads_what_was_written_and_zeros() -> None:
    image = MemoryImage(10_000)
    image.write(4090, b"0123456789")
    assert image.read(4088, 14) == b"\0\0" + b"0123456789" + b"\0\0"
    assert image.read(9_999, 5) == b"\0"
    assert image.read(10_000, 5) == b""
    assert image.usage_bytes == 8192
    longer = image.copy(20_000)
    longer.write(4090, b"x")
    assert image.read(4090, 1) == b"0"
    with pytest.raises(ValueError):
        image.write(9_999, b"xy")


async def test_a_memory_volume_takes_what_was_written(tmp_path: Path) -> None:
    driver = open_driver("memory", {})
    volume = VolumeSpec(vid="appvms/a/private", size_bytes=1 << 30, save_on_stop=True)
    await driver.create(volume)
    path = await driver.import_begin(volume, 1 << 30)
    with path.open("r+b") as file:
        file.seek(1 << 29)
        file.write(b"x")
    await driver.import_end(volume, success=True)
    assert await driver.usage_bytes(volume.vid) == 4096
