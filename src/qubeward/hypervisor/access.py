"""What QEMU's account may reach: exactly the files a domain names, and no more than it needs.

Writable disks become the account's own. Everything else it may only read: a guest that broke out
into its QEMU must not be able to change a template's files, or a kernel, for all others.
"""

import os
import stat
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import HypervisorError
from .driver import DomainSpec
from .embed import Account

IsVolume = Callable[[Path], bool]

_MOST_LAYERS = 64
_QCOW2_MAGIC = b"QFI\xfb"
_QCOW2_VERSION_3 = 3
_BACKING_FORMAT = 0xE2792ACA


def grant(spec: DomainSpec, account: Account, is_volume: IsVolume) -> None:
    """Let the account use the domain's files, and raise `HypervisorError` if it can't.

    A backing file is named by the image above it, which a guest that broke out could have
    written: one that `is_volume` doesn't know is left as it is.
    """
    try:
        for disk in spec.disks:
            path = Path(disk.path)
            if disk.read_only:
                _let_read(path, account)
            else:
                _let_write(path, account)
            for backing in _backing_files(path, disk.format):
                if is_volume(backing.resolve()):
                    _let_read(backing, account)
                _check_reach(backing, account)
        if spec.kernel is not None:
            for file in (spec.kernel.vmlinuz, spec.kernel.initramfs):
                if file is not None:
                    _let_read(Path(file), account)
    except OSError as error:
        why = f"{error.filename}: {error.strerror}"
        raise HypervisorError(f"create {spec.name}", why) from error


def may_open(path: Path, account: Account, wanted: int) -> bool:
    """Say whether the account has these rights (bits of one octal digit) to the file itself."""
    found = path.stat()
    if found.st_uid == account.uid:
        return (found.st_mode >> 6) & wanted == wanted
    groups = os.getgrouplist(account.name, account.gid)
    if found.st_gid in groups:
        return (found.st_mode >> 3) & wanted == wanted
    return found.st_mode & wanted == wanted


def _let_write(path: Path, account: Account) -> None:
    found = path.stat()
    if stat.S_ISBLK(found.st_mode):
        if not may_open(path, account, 6):
            os.chown(path, account.uid, -1)
    elif found.st_uid != account.uid or found.st_mode & 0o600 != 0o600:
        os.chown(path, account.uid, -1)
        path.chmod(stat.S_IMODE(found.st_mode) | 0o600)
    _check_reach(path, account)


def _let_read(path: Path, account: Account) -> None:
    found = path.stat()
    if found.st_uid == account.uid:  # it was somebody's writable disk before
        os.chown(path, 0, account.gid)
        path.chmod(0o640)
    elif not may_open(path, account, 4):
        os.chown(path, -1, account.gid)
        path.chmod(stat.S_IMODE(found.st_mode) | 0o040)
    _check_reach(path, account)


def _check_reach(path: Path, account: Account) -> None:
    for directory in reversed(path.resolve().parents):
        if not may_open(directory, account, 1):
            why = f"{account.name} can't reach {path}: allow it with chmod o+x {directory}"
            raise HypervisorError("open a file", why)
    if not may_open(path, account, 4):
        raise HypervisorError("open a file", f"{account.name} may not read {path}")


def _backing_files(path: Path, image_format: str) -> Iterator[Path]:
    for _ in range(_MOST_LAYERS):
        if image_format != "qcow2":
            return
        backing = _find_backing(path)
        if backing is None:
            return
        path, image_format = backing
        yield path


def _find_backing(path: Path) -> tuple[Path, str] | None:
    """Read the header of a qcow2 image: the file below it, and the format that it is in.

    docs/interop/qcow2.rst of QEMU. A format that isn't stated is taken for raw, never guessed.
    """
    with path.open("rb") as image:
        head = image.read(65536)
    if head[:4] != _QCOW2_MAGIC:
        return None
    version, offset, length = struct.unpack_from(">IQI", head, 4)
    if not offset or not length:
        return None
    name = os.fsdecode(head[offset : offset + length])
    at = struct.unpack_from(">I", head, 100)[0] if version >= _QCOW2_VERSION_3 else 72
    image_format = "raw"
    while at + 8 <= len(head):
        kind, size = struct.unpack_from(">II", head, at)
        if kind == 0:
            break
        if kind == _BACKING_FORMAT:
            image_format = head[at + 8 : at + 8 + size].decode("ascii", "replace")
        at += 8 + size + (-size % 8)
    return path.parent / name, image_format
