"""Counting extents, told by a file system that is played here; real ones are in tests/drivers."""

import errno
import fcntl
import os
import struct
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qubeward.host import extents
from qubeward.host.extents import unique_bytes

KIB, MIB = 1 << 10, 1 << 20
BLOCK = 4096
LAST, UNKNOWN, DELALLOC, ENCODED, INLINE, SHARED = 0x1, 0x2, 0x4, 0x8, 0x300, 0x2000


class Played:
    """A file system whose files have the extents (physical, length, flags) that a test says."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._files: dict[int, list[tuple[int, int, int]]] = {}
        self.calls = 0
        monkeypatch.setattr(fcntl, "ioctl", self.ioctl)

    def file(self, name: str, *found: tuple[int, int, int]) -> Path:
        path = self._folder / name
        path.touch()
        self._files[path.stat().st_ino] = list(found)
        return path

    def ioctl(self, fd: int, request: int, batch: bytearray) -> int:
        assert request == 0xC020660B
        self.calls += 1
        start, _, flags, _, room, _ = struct.unpack_from("=QQLLLL", batch)
        assert flags == 0
        found = self._files[os.fstat(fd).st_ino]
        logical, mapped = 0, 0
        for number, (physical, length, its_flags) in enumerate(found):
            if logical >= start and mapped < room:
                last = LAST if number == len(found) - 1 else 0
                place = 32 + 56 * mapped
                row = (logical, physical, length, 0, 0, its_flags | last, 0, 0, 0)
                struct.pack_into("=QQQQQLLLL", batch, place, *row)
                mapped += 1
            logical += length
        struct.pack_into("=L", batch, 20, mapped)
        return 0


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Played:
    return Played(tmp_path, monkeypatch)


def test_what_is_shared_counts_once_and_what_is_not_in_full(played: Played) -> None:
    one = played.file("one", (10 * MIB, MIB, SHARED), (30 * MIB, MIB, 0))
    other = played.file("other", (10 * MIB + MIB // 2, MIB, SHARED), (50 * MIB, MIB, 0))
    assert unique_bytes([one]) == 2 * MIB
    assert unique_bytes([one, other]) == unique_bytes([other, one]) == 3 * MIB + MIB // 2


def test_a_file_that_shares_with_itself_counts_once(played: Played) -> None:
    one = played.file("one", (10 * MIB, MIB, SHARED), (10 * MIB, MIB, SHARED))
    assert unique_bytes([one]) == MIB


def test_what_has_no_place_counts_by_its_length(played: Played) -> None:
    delayed = UNKNOWN | DELALLOC
    found = [(0, MIB, delayed), (0, MIB, delayed | SHARED), (0, MIB, delayed | SHARED)]
    one = played.file("one", (0, 300, INLINE), *found)
    assert unique_bytes([one]) == 3 * MIB + 300


def test_more_extents_than_are_told_at_a_time_are_all_counted(played: Played) -> None:
    one = played.file("one", *((number * MIB, BLOCK, 0) for number in range(3000)))
    assert unique_bytes([one]) == 3000 * BLOCK
    assert played.calls == 3


def test_compressed_data_counts_unpacked_and_clones_of_it_once(played: Played) -> None:
    # 128 KiB each, packed to one block: by their places they would overlap
    found = [(MIB + BLOCK * number, 128 * KIB, ENCODED | SHARED) for number in range(8)]
    one, other = played.file("one", *found), played.file("other", *found)
    alone = played.file("alone", (9 * MIB, 128 * KIB, ENCODED))
    assert unique_bytes([one]) == unique_bytes([one, other]) == MIB
    assert unique_bytes([one, alone]) == MIB + 128 * KIB


def test_a_file_with_several_names_counts_once(played: Played, tmp_path: Path) -> None:
    one = played.file("one", (MIB, MIB, 0))
    link = tmp_path / "link"
    link.hardlink_to(one)
    assert unique_bytes([one, link, one]) == MIB


def test_what_is_missing_or_empty_takes_nothing(played: Played, tmp_path: Path) -> None:
    assert unique_bytes([tmp_path / "none", played.file("empty")]) == 0
    assert unique_bytes([]) == 0


@given(
    shared=st.lists(
        st.lists(st.tuples(st.integers(0, 3 << 15), st.integers(1, 2 << 15)), max_size=5),
        max_size=4,
    )
)
def test_any_extents_add_up_to_their_union(shared: list[list[tuple[int, int]]]) -> None:
    counted = extents._Shared(BLOCK)
    total = 0
    union: set[int] = set()
    for found in shared:
        for first, count in found:
            place = extents._Extent(0, first * BLOCK, count * BLOCK, SHARED)
            total += counted.add(place)
            union.update(range(first, first + count))
    assert total == len(union) * BLOCK


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.ENOTTY, errno.EBADR, errno.EIO])
def test_without_fiemap_blocks_count_once_for_each_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(code, "refused")

    one, link = tmp_path / "one", tmp_path / "link"
    one.write_bytes(b"x" * 100 * KIB)
    os.sync()
    link.hardlink_to(one)
    monkeypatch.setattr(fcntl, "ioctl", refuse)
    if code == errno.EIO:
        with pytest.raises(OSError, match="refused"):
            unique_bytes([one])
    else:
        assert unique_bytes([one, link]) == one.stat().st_blocks * 512 >= 100 * KIB


def test_what_is_no_file_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert unique_bytes([tmp_path / "fifo"]) == 0


@pytest.mark.slow
def test_many_scattered_extents_take_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    # over 64 GiB, in no order; twice, as two clones have them
    scattered = [number * 7_919_317 % (1 << 24) * BLOCK for number in range(40_000)] * 2

    def ioctl(fd: int, request: int, batch: bytearray) -> int:
        first = struct.unpack_from("=Q", batch)[0] // BLOCK
        page = scattered[first : first + 1024]
        for number, physical in enumerate(page, start=first):
            last = LAST if number == len(scattered) - 1 else 0
            row = (number * BLOCK, physical, BLOCK, SHARED | last)
            struct.pack_into("=QQQ16xL12x", batch, 32 + 56 * (number - first), *row)
        struct.pack_into("=L", batch, 20, len(page))
        return 0

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    tracemalloc.start()
    assert unique_bytes([Path(__file__)]) == len(set(scattered)) * BLOCK
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 4 * MIB
