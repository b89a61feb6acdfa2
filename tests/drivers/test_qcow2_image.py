"""The headers that the qcow2 driver writes and trusts, judged by QEMU's own tools."""

import contextlib
import itertools
import json
import os
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.conftest import MIB, qemu_io, resize_image
from qubeward.storage import qcow2_image as image
from qubeward.storage.driver import BlockImage

GIB, TIB = 1 << 30, 1 << 40
SIZES = (512, 1000, MIB, 512 * MIB, 512 * MIB + 1, 10 * GIB, 4 * TIB + 512, 16 * TIB)


def qemu_img(*words: str) -> bytes:
    return subprocess.run(["qemu-img", *words], check=True, capture_output=True).stdout


def info(path: Path) -> dict[str, object]:
    return dict(json.loads(qemu_img("info", "--output=json", "-f", "qcow2", str(path))))


def check(path: Path) -> None:
    found = json.loads(qemu_img("check", "--output=json", "-f", "qcow2", str(path)))
    assert found["check-errors"] == 0
    assert not {"corruptions", "leaks"} & found.keys(), found


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    """An overlay of 16 MiB, on 8 MiB of data."""
    (tmp_path / "below.raw").write_bytes(os.urandom(MIB) * 8)
    path = tmp_path / "overlay.qcow2"
    image.make_overlay(path, 16 * MIB, "below.raw", "raw")
    return path


@pytest.mark.parametrize("size_bytes", SIZES)
@pytest.mark.parametrize("backing", ["", "raw", "qcow2"])
def test_qemu_takes_what_is_made(tmp_path: Path, size_bytes: int, backing: str) -> None:
    path, below = tmp_path / "made.qcow2", tmp_path / f"below.{backing}"
    if backing == "raw":
        below.write_bytes(b"below".ljust(512, b"\0"))
    elif backing == "qcow2":
        image.make_overlay(below, min(size_bytes, MIB))
    image.make_overlay(path, size_bytes, below.name if backing else "", backing)
    rounded = -(-size_bytes // 512) * 512
    found = info(path)
    assert found["virtual-size"] == rounded
    assert found.get("backing-filename") == (below.name if backing else None)
    assert found.get("backing-filename-format") == (backing or None)
    assert path.stat().st_blocks * 512 < 64 * 1024, "it takes nearly nothing"
    check(path)
    header = image.read_header(path)
    assert (header.size_bytes, header.backing) == (rounded, below.name if backing else "")
    assert not image.has_own_data(path, header)


@pytest.mark.parametrize("size_bytes", [512, MIB, 10 * GIB, 16 * TIB])
def test_a_guest_can_write_from_end_to_end(tmp_path: Path, size_bytes: int) -> None:
    made = BlockImage(path=tmp_path / "made.qcow2", format="qcow2")
    image.make_overlay(made.path, size_bytes)
    for offset in {0, size_bytes // 1024 * 512, size_bytes - 512}:
        qemu_io(made, f"write -P 0x5a {offset} 512")
    check(made.path)
    for offset in {0, size_bytes // 1024 * 512, size_bytes - 512}:
        qemu_io(made, f"read -P 0x5a {offset} 512")
    assert image.has_own_data(made.path, image.read_header(made.path))


def test_an_overlay_is_like_qemus_own(tmp_path: Path, overlay: Path) -> None:
    other = tmp_path / "other.qcow2"
    words = ("-F", "raw", "-b", "below.raw", str(other), str(16 * MIB))
    qemu_img("create", "-q", "-f", "qcow2", *words)
    qemu_img("compare", "-f", "qcow2", "-F", "qcow2", str(overlay), str(other))
    for path in (overlay, other):
        qemu_io(BlockImage(path=path, format="qcow2"), "write -P 7 1M 3M")
        qemu_io(BlockImage(path=path, format="qcow2"), "discard 2M 1M")
        check(path)
    qemu_img("compare", "-f", "qcow2", "-F", "qcow2", str(overlay), str(other))


def test_no_file_stays_of_a_size_that_qemu_does_not_open(tmp_path: Path) -> None:
    image.make_overlay(tmp_path / "most", 1 << 51)
    check(tmp_path / "most")
    with pytest.raises(OSError, match="File too large"):
        image.make_overlay(tmp_path / "more", (1 << 51) + 1)
    assert [path.name for path in tmp_path.iterdir()] == ["most"]


def test_what_qemu_does_to_a_header_is_understood(overlay: Path) -> None:
    made = BlockImage(path=overlay, format="qcow2")
    resize_image(made, 600 * GIB)
    qemu_io(made, "write -P 1 599G 64k")
    qemu_img("bitmap", "--add", "-f", "qcow2", str(overlay), "some-bitmap")
    header = image.read_header(overlay)
    assert header.size_bytes == 600 * GIB
    assert (header.backing, header.backing_format) == ("below.raw", "raw")
    assert image.has_own_data(overlay, header)


def test_a_discard_is_something_of_its_own(overlay: Path) -> None:
    assert not image.has_own_data(overlay, image.read_header(overlay))
    qemu_io(BlockImage(path=overlay, format="qcow2"), "discard 1M 1M")
    assert image.has_own_data(overlay, image.read_header(overlay))


@pytest.mark.parametrize(
    "names",
    [["../../layers/12.raw", "12.raw"], ["a.raw", "much-longer-than-that.raw", "b.raw", "c.raw"]],
    ids=["shorter", "other"],
)
def test_what_is_below_gets_another_name(tmp_path: Path, names: list[str]) -> None:
    below = os.urandom(MIB)
    path = tmp_path / "there" / "now" / "overlay.qcow2"
    path.parent.mkdir(parents=True)
    image.make_overlay(path, MIB, names[0], "raw")
    for name in names[1:]:
        where = path.parent / name
        where.write_bytes(below)
        image.rename_backing(path, image.read_header(path), name)
        assert image.read_header(path).backing == name
        assert info(path)["backing-filename"] == name
        check(path)
        qemu_io(BlockImage(path=path, format="qcow2"), "write -P 9 64k 64k")
        expected = below[: 64 << 10] + b"\x09" * (64 << 10) + below[128 << 10 :]
        qemu_img("convert", "-f", "qcow2", "-O", "raw", str(path), str(tmp_path / "raw"))
        assert (tmp_path / "raw").read_bytes() == expected
        where.unlink()


def test_a_rename_is_cut_off_with_the_old_name_or_the_new(
    overlay: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple[bytes, int] | None] = []

    def pwrite(fd: int, data: bytes, offset: int) -> int:
        steps.append((bytes(data), offset))
        return len(data)

    names = ["below.raw", "other.raw", "third.raw", "4.raw", "fifth.raw"]
    for old, new in itertools.pairwise(names):
        steps.clear()
        header = image.read_header(overlay)
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", pwrite)
            patch.setattr(os, "fsync", lambda _: steps.append(None))
            image.rename_backing(overlay, header, new)
        name, synced, switch = steps
        assert name is not None
        assert synced is None, "the name is durable before it is pointed to"
        assert switch is not None
        assert switch[1] + len(switch[0]) <= 512, "the switch is within one sector"
        for (data, offset), expected in ((name, old), (switch, new)):
            patched(overlay, offset, data)
            assert image.read_header(overlay).backing == expected
            assert info(overlay)["backing-filename"] == expected


# What a guest that broke out into its QEMU could have written.


def patched(overlay: Path, at: int, data: bytes) -> Path:
    with overlay.open("r+b") as file:
        file.seek(at)
        file.write(data)
    return overlay


@pytest.mark.parametrize(
    ("at", "data"),
    [
        (0, b"LUKS"), (4, struct.pack(">I", 2)), (8, struct.pack(">Q", 1 << 16)),
        (8, struct.pack(">Q", (1 << 64) - 1)), (16, struct.pack(">I", 1024)),
        (20, struct.pack(">I", 12)), (24, struct.pack(">Q", 512 * MIB + 512)),
        (24, struct.pack(">Q", 513)), (24, struct.pack(">Q", (1 << 64) - 512)),
        (32, struct.pack(">I", 2)), (36, struct.pack(">I", 0)), (36, struct.pack(">I", 1 << 31)),
        (40, struct.pack(">Q", (1 << 64) - 1)), (72, struct.pack(">Q", 4)),
        (72, struct.pack(">Q", 1 << 63)), (100, struct.pack(">I", 72)),
        (100, struct.pack(">I", (1 << 32) - 1)), (120, b"\xff"),
        (112, struct.pack(">II", 1, (1 << 32) - 1)),
    ],
)  # fmt: skip
def test_a_header_that_was_not_made_so_is_refused(overlay: Path, at: int, data: bytes) -> None:
    with pytest.raises(image.BadImageError):
        image.read_header(patched(overlay, at, data))


def test_a_file_that_is_cut_off_is_refused(overlay: Path) -> None:
    os.truncate(overlay, 65535)
    with pytest.raises(image.BadImageError):
        image.read_header(overlay)


@given(st.binary(max_size=64), st.integers(0, 256))
def test_any_header_is_parsed_or_refused(data: bytes, at: int) -> None:
    fields = image._Fields(size_bytes=MIB, l1_entries=1, backing_offset=112, backing_bytes=8)
    made = bytearray(image._HEADER.pack(*fields).ljust(1 << 16, b"\0"))
    made[at : at + len(data)] = data
    with contextlib.suppress(image.BadImageError):
        header = image.parse_header(bytes(made[: 1 << 16]))
        assert 0 <= header.size_bytes <= header.l1_entries << 29
        assert header.backing_offset + len(header.backing) <= 1 << 16
