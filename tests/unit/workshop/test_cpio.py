"""The newc writer: one archive to the byte, and every archive read back by its format's rules."""

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qubeward.workshop.cpio import Archive

GOLDEN = (
    b"070701" b"00000001" b"000041ED" + b"00000000" * 2 + b"00000002" + b"00000000" * 6
    + b"00000004" b"00000000" b"dev\0" b"\0\0"
    b"070701" b"00000002" b"00002180" + b"00000000" * 2 + b"00000001" + b"00000000" * 4
    + b"00000005" b"00000001" b"0000000C" b"00000000" b"dev/console\0" b"\0\0"
    b"070701" b"00000003" b"000081ED" + b"00000000" * 2 + b"00000001" + b"00000000" b"00000003"
    + b"00000000" * 4 + b"00000005" b"00000000" b"init\0" b"\0" b"hi\n" b"\0"
    b"070701" b"00000000" b"00000000" + b"00000000" * 2 + b"00000001" + b"00000000" * 6
    + b"0000000B" b"00000000" b"TRAILER!!!\0" b"\0\0\0"
)  # fmt: skip


def entries(data: bytes) -> list[tuple[str, int, bytes]]:
    """Read an archive: name, mode and content of each entry."""
    found, at = [], 0
    while True:
        assert data[at : at + 6] == b"070701"
        fields = [int(data[i : i + 8], 16) for i in range(at + 6, at + 110, 8)]
        name = data[at + 110 : at + 110 + fields[11]]
        start = at + 110 + len(name)
        start += -start % 4
        content = data[start : start + fields[6]]
        at = start + len(content)
        at += -at % 4
        assert name.endswith(b"\0")
        if name == b"TRAILER!!!\0":
            assert not data[at:].strip(b"\0")
            return found
        found.append((name[:-1].decode(), fields[1], content))


def test_archive_is_what_the_kernel_expects_to_the_byte() -> None:
    archive = Archive()
    archive.folder("dev")
    archive.character_device("dev/console", 5, 1)
    archive.file("init", b"hi\n", 0o755)
    assert archive.close() == GOLDEN + bytes(-len(GOLDEN) % 512)


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1),
        st.tuples(st.binary(max_size=300), st.integers(0, 0o7777)),
    ).filter(lambda files: "TRAILER!!!" not in files)
)
def test_every_archive_reads_back_as_written(files: dict[str, tuple[bytes, int]]) -> None:
    archive = Archive()
    for name, (data, mode) in files.items():
        archive.file(name, data, mode)
    data = archive.close()
    assert len(data) % 512 == 0
    assert entries(data) == [
        (name, stat.S_IFREG | mode, data) for name, (data, mode) in files.items()
    ]


def test_link_holds_its_target() -> None:
    archive = Archive()
    archive.link("sh", "busybox")
    assert entries(archive.close()) == [("sh", stat.S_IFLNK | 0o777, b"busybox")]


@pytest.mark.parametrize("name", ["", "/init", "a\0b", "TRAILER!!!", "no/folder/yet"])
def test_name_that_the_kernel_would_misread_is_refused(name: str) -> None:
    with pytest.raises(ValueError):
        Archive().file(name, b"")


def test_name_is_given_once() -> None:
    archive = Archive()
    archive.file("init", b"")
    with pytest.raises(ValueError):
        archive.file("init", b"")
