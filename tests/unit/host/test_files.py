import errno
import os
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qubeward.host import files

MIB = 1 << 20


def test_replace_puts_all_of_the_new_content_in_place(tmp_path: Path) -> None:
    path = tmp_path / "state"
    (tmp_path / "state.new").write_bytes(b"left by a crash")
    for content in (b"one", b"", b"x" * 300_000):
        files.replace_file(path, content, mode=0o640)
        assert path.read_bytes() == content
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_replace_keeps_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, data: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    path = tmp_path / "state"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="full"):
        files.replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_directories_are_made_with_their_mode_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        files.make_directory(tmp_path / "a" / "b")
        files.make_directory(tmp_path / "a" / "b")
    finally:
        os.umask(old)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o711
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o711


def test_a_file_in_the_way_of_a_directory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(OSError):
        files.make_directory(tmp_path / "a" / "b")
    with pytest.raises(OSError):
        files.make_directory(tmp_path / "a")


def test_only_an_empty_directory_is_removed(tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "file").write_bytes(b"")
    files.remove_empty_directory(full)
    assert full.exists()
    assert files.remove_file(full / "file")
    assert not files.remove_file(full / "file")
    files.remove_empty_directory(full)
    files.remove_empty_directory(full)
    assert not full.exists()


def test_sizes_of_what_is_not_there(tmp_path: Path) -> None:
    assert files.find_size_bytes(tmp_path / "none") is None
    assert files.allocated_bytes(tmp_path / "none") == 0


def test_a_sparse_file_takes_nothing_and_is_never_shrunk(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    files.make_sparse(path, 1024 * MIB)
    assert files.allocated_bytes(path) == 0
    assert not files.has_data(path)
    files.grow_file(path, MIB)
    assert files.find_size_bytes(path) == 1024 * MIB
    files.grow_file(path, 1025 * MIB)
    assert files.find_size_bytes(path) == 1025 * MIB
    with pytest.raises(FileExistsError):
        files.make_sparse(path, 1)


def test_a_copy_of_a_big_sparse_file_is_fast_small_and_uses_no_memory(tmp_path: Path) -> None:
    source, dest = tmp_path / "source", tmp_path / "dest"
    files.make_sparse(source, 1024 * MIB)
    with source.open("r+b") as file:
        for offset in (0, 300 * MIB, 1024 * MIB - 8):
            file.seek(offset)
            file.write(b"whatever")
        file.seek(600 * MIB)
        file.write(os.urandom(32 * MIB))
    tracemalloc.start()
    began = time.monotonic()
    files.copy_sparse(source, dest)
    taken_s = time.monotonic() - began
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken_s < 10
    assert peak_bytes < 4 * MIB
    assert files.find_size_bytes(dest) == 1024 * MIB
    assert files.allocated_bytes(dest) < 34 * MIB
    with source.open("rb") as one, dest.open("rb") as other:
        for offset in (0, 300 * MIB, 600 * MIB, 1020 * MIB):
            one.seek(offset)
            other.seek(offset)
            assert one.read(4 * MIB) == other.read(4 * MIB)


@pytest.mark.parametrize("refusal", [None, errno.EXDEV, errno.EOPNOTSUPP])
@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    size=st.integers(0, 3 * MIB),
    pieces=st.lists(st.tuples(st.integers(0, 3 * MIB), st.binary(min_size=1, max_size=9))),
)
def test_a_copy_is_equal_with_and_without_copy_file_range(
    refusal: int | None, tmp_path: Path, size: int, pieces: list[tuple[int, bytes]]
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(refusal, "refused")

    source, dest = tmp_path / "source", tmp_path / "dest"
    source.unlink(missing_ok=True)
    dest.unlink(missing_ok=True)
    files.make_sparse(source, size)
    with source.open("r+b") as file:
        for offset, piece in pieces:
            file.seek(offset)
            file.write(piece)
    with pytest.MonkeyPatch.context() as patch:
        if refusal is not None:
            patch.setattr(os, "copy_file_range", refuse)
        files.copy_sparse(source, dest)
    assert dest.read_bytes() == source.read_bytes()
    assert files.has_data(source) == bool(pieces)


@pytest.mark.parametrize("answer", [0, errno.EIO])
def test_a_failed_copy_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: int
) -> None:
    def fail(*_: object) -> int:
        if answer:
            raise OSError(answer, "broken")
        return 0

    (tmp_path / "source").write_bytes(b"data")
    monkeypatch.setattr(os, "copy_file_range", fail)
    with pytest.raises(OSError):
        files.copy_sparse(tmp_path / "source", tmp_path / "dest")
    assert not (tmp_path / "dest").exists()


def test_the_file_system_has_a_size(tmp_path: Path) -> None:
    size_bytes, usage_bytes = files.filesystem_bytes(tmp_path)
    assert 0 < usage_bytes <= size_bytes


def test_a_file_taken_back_is_nobody_elses(tmp_path):
    path = tmp_path / "disk.img"
    path.write_bytes(b"data")
    path.chmod(0o666)
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)
    files.take_back(path)
    status = path.stat()
    assert (status.st_uid, status.st_mode & 0o777) == (os.geteuid(), 0o600)
    assert path.read_bytes() == b"data"
