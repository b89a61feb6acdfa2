"""QEMU's account gets what a domain names, and nothing that only an image's header names."""

import os
import struct
from pathlib import Path
from uuid import uuid4

import pytest

from drivers.hypervisors import make_accounts, reachable_folder
from qubeward.errors import HypervisorError
from qubeward.hypervisor.access import grant
from qubeward.hypervisor.driver import DirectKernel, Disk, DomainSpec
from qubeward.hypervisor.embed import Account, find_account

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="ownership is root's business")


@pytest.fixture
def account() -> Account:
    make_accounts()
    found = find_account("qubeward-qemu")
    assert found is not None
    return found


@pytest.fixture
def folder():
    made = reachable_folder()
    yield made
    for path in made.iterdir():
        path.unlink()
    made.rmdir()


def secret(path: Path, content: bytes = b"") -> Path:
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def qcow2(path: Path, backing: Path, backing_format: bytes | None) -> Path:
    extension = b""
    if backing_format is not None:
        padded = backing_format + bytes(-len(backing_format) % 8)
        extension = struct.pack(">II", 0xE2792ACA, len(backing_format)) + padded
    name = os.fsencode(backing)
    head = struct.pack(">4sIQI", b"QFI\xfb", 3, 512, len(name)).ljust(100, b"\0")
    head += struct.pack(">I", 104) + extension + bytes(8)
    return secret(path, head.ljust(512, b"\0") + name)


def spec(*disks: Disk, kernel: DirectKernel | None = None) -> DomainSpec:
    return DomainSpec(
        uuid=uuid4(),
        name="work",
        memory_mib=1,
        max_memory_mib=1,
        vcpus=1,
        disks=disks,
        kernel=kernel,
    )


def mode(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_uid, found.st_gid, found.st_mode & 0o777


def test_writable_disks_are_the_accounts(folder: Path, account: Account) -> None:
    disk = secret(folder / "private.img")
    grant(spec(Disk(serial="private", path=str(disk))), account, lambda _: False)
    assert mode(disk) == (account.uid, 0, 0o600)


def test_kernels_and_read_only_disks_can_only_be_read(folder: Path, account: Account) -> None:
    kernel, modules = secret(folder / "vmlinuz"), secret(folder / "modules.img")
    disk = Disk(serial="kernel", path=str(modules), read_only=True)
    boot = DirectKernel(vmlinuz=str(kernel), initramfs=None, options="")
    grant(spec(disk, kernel=boot), account, lambda _: False)
    assert mode(kernel) == mode(modules) == (0, account.gid, 0o640)


def test_a_disk_that_became_a_backing_file_is_taken_back(folder: Path, account: Account) -> None:
    base = secret(folder / "base.qcow2")
    os.chown(base, account.uid, account.gid)
    top = qcow2(folder / "top.qcow2", base, b"raw")
    grant(spec(Disk(serial="root", path=str(top), format="qcow2")), account, lambda _: True)
    assert mode(base) == (0, account.gid, 0o640)


def test_the_whole_chain_is_readable(folder: Path, account: Account) -> None:
    base = secret(folder / "base.raw")
    middle = qcow2(folder / "middle.qcow2", Path("base.raw"), b"raw")
    top = qcow2(folder / "top.qcow2", middle, b"qcow2")
    grant(spec(Disk(serial="root", path=str(top), format="qcow2")), account, lambda _: True)
    assert mode(middle) == mode(base) == (0, account.gid, 0o640)


def test_a_backing_file_that_is_no_volume_stays_closed(folder: Path, account: Account) -> None:
    shadow = secret(folder / "shadow", b"root:secret")
    top = qcow2(folder / "top.qcow2", shadow, b"raw")
    with pytest.raises(HypervisorError, match="may not read"):
        grant(spec(Disk(serial="root", path=str(top), format="qcow2")), account, lambda _: False)
    assert mode(shadow) == (0, 0, 0o600)


@pytest.mark.parametrize("stated", [None, b"raw"])
def test_a_guests_bytes_are_never_taken_for_a_header(
    folder: Path, account: Account, stated: bytes | None
) -> None:
    shadow = secret(folder / "shadow", b"root:secret")
    raw = qcow2(folder / "base.raw", shadow, b"raw")  # a guest wrote a header into its raw disk
    top = qcow2(folder / "top.qcow2", raw, stated)
    for disk in (
        Disk(serial="root", path=str(top), format="qcow2"),
        Disk(serial="x", path=str(raw)),
    ):
        grant(spec(disk), account, lambda _: True)
    assert mode(shadow) == (0, 0, 0o600)


def test_a_folder_in_the_way_is_named(folder: Path, account: Account) -> None:
    closed = folder.parent / f"{folder.name}-closed"
    closed.mkdir(mode=0o700)
    try:
        disk = secret(closed / "disk.img")
        with pytest.raises(HypervisorError, match=f"chmod o\\+x {closed}"):
            grant(spec(Disk(serial="root", path=str(disk))), account, lambda _: False)
    finally:
        (closed / "disk.img").unlink()
        closed.rmdir()
