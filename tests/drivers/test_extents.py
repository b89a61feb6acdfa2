"""What files take together, on real file systems."""

import os
import uuid
from pathlib import Path
from typing import Any

import pytest

from qubeward.host import files
from qubeward.host.extents import unique_bytes
from qubeward.host.pour import copy

KIB, MIB = 1 << 10, 1 << 20


def write(path: Path, data: bytes, offset: int = 0) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.pwrite(fd, data, offset)
    os.fsync(fd)
    os.close(fd)


@pytest.fixture(params=["ext4", "btrfs", "xfs"])
def place(request: Any) -> Path:
    path: Path = request.getfixturevalue(request.param) / uuid.uuid4().hex
    path.mkdir()
    return path


@pytest.fixture(params=["btrfs", "xfs"])
def cloning(request: Any) -> Path:
    path: Path = request.getfixturevalue(request.param) / uuid.uuid4().hex
    path.mkdir()
    return path


def test_data_counts_holes_do_not_and_two_names_are_one_file(place: Path) -> None:
    one, link = place / "one", place / "link"
    files.make_sparse(one, 1 << 40 if "ext4" not in place.parent.name else 1 << 34)
    assert unique_bytes([one]) == 0
    write(one, os.urandom(MIB), 64 * MIB)
    write(one, os.urandom(64 * KIB), 8 << 30)
    link.hardlink_to(one)
    found = unique_bytes([one, link, place / "none"])
    assert found == files.allocated_bytes(one) == MIB + 64 * KIB


def test_data_that_is_not_on_the_disk_yet_counts(place: Path) -> None:
    (place / "one").write_bytes(os.urandom(MIB))
    assert unique_bytes([place / "one"]) >= MIB


def test_many_extents_are_all_counted(place: Path) -> None:
    one = place / "one"
    for number in range(0, 3000, 2):
        fd = os.open(one, os.O_WRONLY | os.O_CREAT)
        os.pwrite(fd, b"x" * 4096, number * 4096)
        os.close(fd)
    files.sync_file(one)
    # blocks also count what maps them; XFS may have set room aside for what could follow
    assert 1500 * 4096 <= unique_bytes([one]) <= files.allocated_bytes(one)


def test_clones_count_once_and_an_overwrite_adds_what_it_overwrites(cloning: Path) -> None:
    one, other, third = cloning / "one", cloning / "other", cloning / "third"
    write(one, os.urandom(4 * MIB))
    files.clone_file(one, other)
    files.clone_file(one, third)
    assert unique_bytes([one]) == unique_bytes([other]) == 4 * MIB
    assert unique_bytes([one, other, third]) == 4 * MIB
    write(other, os.urandom(256 * KIB), MIB)
    assert unique_bytes([other]) == 4 * MIB
    assert unique_bytes([one, other, third]) == 4 * MIB + 256 * KIB
    one.unlink()
    third.unlink()
    assert unique_bytes([one, other, third]) == 4 * MIB


def test_a_copy_shares_what_the_file_system_shares_by_itself(cloning: Path) -> None:
    one, other = cloning / "one", cloning / "other"
    write(one, os.urandom(4 * MIB))
    files.make_sparse(other, 4 * MIB)
    assert copy(one, other)
    assert other.read_bytes() == one.read_bytes()
    assert unique_bytes([one, other]) == 4 * MIB


def test_a_small_file_inside_its_inode_counts_something(place: Path) -> None:
    write(place / "one", b"x" * 100)
    assert 0 < unique_bytes([place / "one"]) <= 4096
