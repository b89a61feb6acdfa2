from pathlib import Path

import pytest

from qubeward.errors import BadValueError, MissingOptionError, ProtocolError, StorageError
from qubeward.storage.driver import VolumeSpec
from qubeward.storage.drivers import DRIVERS, check_options, open_driver
from qubeward.storage.memory import MemoryImage
from qubeward.storage.options import parse_boolean, parse_directory, parse_revisions


def test_the_table_names_what_upstream_names() -> None:
    rows = [row for row in DRIVERS.values() if not row.for_tests]
    space = "warn_percent floor_mib"
    assert {row.name: " ".join(option.name for option in row.options) for row in rows} == {
        "callback": "conf_id",
        "file": f"revisions_to_keep dir_path ephemeral_volatile {space}",
        "file-reflink": f"revisions_to_keep dir_path setup_check ephemeral_volatile {space}",
        "linux-kernel": "dir_path",
        "lvm_thin": f"revisions_to_keep volume_group thin_pool ephemeral_volatile {space}",
        "qcow2": f"revisions_to_keep dir_path ephemeral_volatile {space}",
        "zfs": f"revisions_to_keep container ephemeral_volatile snap_on_start_forensics {space}",
    }
    assert all(DRIVERS[name].name == name for name in DRIVERS)


def needs_a_directory(row) -> bool:
    return any(option.name == "dir_path" and option.required for option in row.options)


@pytest.mark.parametrize(
    "row",
    [row for row in DRIVERS.values() if needs_a_directory(row) or row.for_tests],
    ids=lambda row: row.name,
)
async def test_every_row_makes_a_driver_that_sets_up(row, tmp_path: Path) -> None:
    options = {"dir_path": str(tmp_path / "pool")} if needs_a_directory(row) else {}
    driver = open_driver(row.name, options, {"reflink_fallback": "True", "default_driver": "auto"})
    assert driver.capabilities == row.capabilities
    for _ in range(2):
        await driver.setup()
    assert list(await driver.vids()) == []


@pytest.mark.parametrize(
    "row", [r for r in DRIVERS.values() if needs_a_directory(r)], ids=lambda row: row.name
)
def test_options_are_checked(row, tmp_path: Path) -> None:
    with pytest.raises(MissingOptionError, match="needs the option dir_path"):
        open_driver(row.name, {})
    with pytest.raises(BadValueError, match="absolute"):
        open_driver(row.name, {"dir_path": "relative"})
    with pytest.raises(ProtocolError, match="nonsense"):
        open_driver(row.name, {"dir_path": str(tmp_path), "nonsense": "1"})
    with pytest.raises(ProtocolError, match="reflink_fallback"):
        open_driver(row.name, {"dir_path": str(tmp_path), "reflink_fallback": "True"})


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("warn_percent", ("0", "101", "", "x", "-1", "1000")),
        ("floor_mib", ("-1", "", "x", "9" * 13)),
        ("revisions_to_keep", ("-2", "", "x")),
        ("ephemeral_volatile", ("", "maybe")),
    ],
)
def test_options_of_every_pool_are_checked(option: str, values, tmp_path: Path) -> None:
    for value in values:
        with pytest.raises(BadValueError):
            check_options("file", {"dir_path": str(tmp_path), option: value})


def test_a_driver_says_how_many_revisions_it_keeps(tmp_path: Path) -> None:
    options = {"dir_path": str(tmp_path)}
    check_options("file-reflink", {**options, "revisions_to_keep": "9999999999999999999"})
    check_options("file", {**options, "revisions_to_keep": "1"})
    with pytest.raises(BadValueError, match="up to 1"):
        check_options("file", {**options, "revisions_to_keep": "2"})


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
    for text in ("", "-2", "1.5", " 1", "1_0", "٣", "9" * 20):
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
