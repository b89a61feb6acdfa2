"""A key is in a file of memory, for QEMU's account, as long as its QEMU starts."""

import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from qubeward.errors import HypervisorError
from qubeward.hypervisor import keys
from qubeward.hypervisor.driver import Disk, DomainSpec
from qubeward.hypervisor.embed import Account
from qubeward.hypervisor.keys import KeyFiles

KEY = "5ec7e7" * 10
SHARED_MEMORY = Path("/dev/shm")

pytestmark = pytest.mark.skipif(
    not keys._is_tmpfs(SHARED_MEMORY), reason="/dev/shm is not on tmpfs here"
)


@pytest.fixture
def on_tmpfs() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY, prefix="qubeward-tests-") as folder:
        yield Path(folder)


def spec(*disks: Disk) -> DomainSpec:
    return DomainSpec(
        uuid=uuid4(), name="work", memory_mib=1, max_memory_mib=1, vcpus=1, disks=disks
    )


ENCRYPTED = spec(
    Disk(serial="root", path="/root.img"),
    Disk(serial="volatile", path="/volatile.img", format="luks", key=KEY),
)


def test_a_key_is_in_a_file_only_inside_the_block(on_tmpfs: Path) -> None:
    files = KeyFiles(on_tmpfs, None)
    with files.written(ENCRYPTED) as paths:
        assert list(paths) == ["volatile"]
        path = Path(paths["volatile"])
        assert path.parent == on_tmpfs / "keys"
        assert path.read_text() == KEY
        assert path.stat().st_mode & 0o777 == 0o400
        assert path.parent.stat().st_mode & 0o777 == 0o711
    assert list((on_tmpfs / "keys").iterdir()) == []
    files.close()
    assert list(on_tmpfs.iterdir()) == []


def test_a_start_that_fails_leaves_no_key(on_tmpfs: Path) -> None:
    def fail() -> None:
        with KeyFiles(on_tmpfs, None).written(ENCRYPTED):
            raise HypervisorError("create", "no")

    with pytest.raises(HypervisorError):
        fail()
    assert list((on_tmpfs / "keys").iterdir()) == []


def test_two_starts_at_once_have_files_of_their_own(on_tmpfs: Path) -> None:
    files = KeyFiles(on_tmpfs, None)
    with files.written(ENCRYPTED) as one:
        with files.written(ENCRYPTED) as other:
            assert set(one.values()).isdisjoint(other.values())
        assert Path(one["volatile"]).read_text() == KEY


@pytest.mark.skipif(os.geteuid() != 0, reason="ownership is root's business")
def test_the_file_is_the_accounts_whatever_the_umask(on_tmpfs: Path) -> None:
    before = os.umask(0o077)
    try:
        with KeyFiles(on_tmpfs, Account("someone", 12345, 12345)).written(ENCRYPTED) as paths:
            found = Path(paths["volatile"]).stat()
            assert (found.st_uid, found.st_mode & 0o777) == (12345, 0o400)
            assert (on_tmpfs / "keys").stat().st_mode & 0o777 == 0o711
    finally:
        os.umask(before)


def test_without_tmpfs_below_its_directory_it_is_in_shared_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "_is_tmpfs", lambda path: path == SHARED_MEMORY)
    files = KeyFiles(tmp_path, None)
    with files.written(ENCRYPTED) as paths:
        place = Path(paths["volatile"]).parent
        assert place.parent == SHARED_MEMORY
        assert list(tmp_path.iterdir()) == []
    files.close()
    assert not place.exists()


def test_without_any_tmpfs_encrypted_disks_are_refused_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "_is_tmpfs", lambda _: False)
    files = KeyFiles(tmp_path, None)
    with files.written(spec(Disk(serial="root", path="/root.img"))) as paths:
        assert paths == {}
    with pytest.raises(HypervisorError, match=f"no tmpfs for its key: {tmp_path} or /dev/shm"):
        files.written(ENCRYPTED).__enter__()
    assert list(tmp_path.iterdir()) == []


def test_another_libvirts_qemu_gets_no_key() -> None:
    with pytest.raises(HypervisorError, match="only the embedded driver can"):
        KeyFiles(None, None).written(ENCRYPTED).__enter__()


def test_what_statfs_says_is_believed(tmp_path: Path) -> None:
    assert keys._is_tmpfs(SHARED_MEMORY)
    assert not keys._is_tmpfs(Path("/proc"))
    assert not keys._is_tmpfs(tmp_path / "missing")


def test_what_a_killed_daemon_left_is_swept(on_tmpfs: Path) -> None:
    files = KeyFiles(on_tmpfs, None)
    files.sweep()  # nothing is there yet
    killed = files.written(ENCRYPTED)
    killed.__enter__()
    assert len(list((on_tmpfs / "keys").iterdir())) == 1
    KeyFiles(on_tmpfs, None).sweep()
    assert list((on_tmpfs / "keys").iterdir()) == []


def test_nothing_is_swept_or_written_where_a_link_leads(on_tmpfs: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    (on_tmpfs / "keys").symlink_to(tmp_path)
    files = KeyFiles(on_tmpfs, None)
    files.sweep()
    with pytest.raises(HypervisorError, match="belongs to somebody else"):
        files.written(ENCRYPTED).__enter__()
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


@pytest.mark.skipif(os.geteuid() != 0, reason="ownership is root's business")
def test_a_directory_that_somebody_else_made_first_is_not_used(on_tmpfs: Path) -> None:
    (on_tmpfs / "keys").mkdir()
    os.chown(on_tmpfs / "keys", 12345, 12345)
    with pytest.raises(HypervisorError, match="belongs to somebody else"):
        KeyFiles(on_tmpfs, None).written(ENCRYPTED).__enter__()


def test_a_full_tmpfs_is_an_error_without_the_key_and_leaves_no_file(
    on_tmpfs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(HypervisorError, match="key file: No space left") as failed:
        KeyFiles(on_tmpfs, None).written(ENCRYPTED).__enter__()
    monkeypatch.undo()
    assert KEY not in repr(failed.value) + str(failed.value)
    assert list((on_tmpfs / "keys").iterdir()) == []
