"""The keys of encrypted disks, in files that are there only while their QEMU starts.

On tmpfs, so that no disk ever has them. libvirt's own secrets are no way: its embedded driver keeps
them on disk, in the clear, and then can't use them.
"""

import contextlib
import ctypes
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..errors import HypervisorError
from .driver import DomainSpec
from .embed import Account, is_own_directory, own_directory

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # `own_directory` checks what is in it
_TMPFS_MAGIC = 0x01021994  # <linux/magic.h>
_MOST_OF_STATFS = 256  # struct statfs has 120 bytes


class KeyFiles:
    """The key files of one embedded driver, below its directory or, if need be, in `/dev/shm`.

    `account` is who QEMU runs as, None for ourselves. Without a directory (another libvirt's QEMU
    runs as who knows whom) a domain with an encrypted disk is refused.
    """

    def __init__(self, directory: Path | None, account: Account | None) -> None:
        self._places: tuple[Path, ...] = ()
        if directory is not None:
            digest = hashlib.sha256(os.fsencode(directory)).hexdigest()[:8]
            shared = _SHARED_MEMORY / f"qubeward-{os.geteuid()}-{digest}"
            self._places = (directory / "keys", shared)
        self._account = account

    def sweep(self) -> None:
        """Remove what a daemon that was killed left. For when no other can be at work here."""
        with _naming("set up"):
            for place in filter(is_own_directory, self._places):
                for file in place.iterdir():
                    file.unlink()

    def close(self) -> None:
        """Remove the directories, if no QEMU is starting."""
        for place in self._places:
            with contextlib.suppress(OSError):
                place.rmdir()

    @contextlib.contextmanager
    def written(self, spec: DomainSpec) -> Iterator[dict[str, str]]:
        """Keep the keys of the domain's disks in files, by serial, while in this block."""
        with contextlib.ExitStack() as stack:
            with _naming(f"create {spec.name}"):
                files = {
                    disk.serial: self._write(disk.key, stack)
                    for disk in spec.disks
                    if disk.key is not None
                }
            yield files

    def _write(self, key: str, stack: contextlib.ExitStack) -> str:
        fd, file = tempfile.mkstemp(dir=self._place())
        stack.callback(Path(file).unlink, missing_ok=True)
        try:
            os.write(fd, key.encode())
            os.fchmod(fd, 0o400)
            if self._account is not None:
                os.fchown(fd, self._account.uid, -1)
        finally:
            os.close(fd)
        return file

    def _place(self) -> Path:
        for place in self._places:
            if _is_tmpfs(place.parent):
                own_directory(place)
                place.chmod(0o711)  # whatever the umask is, QEMU's account passes through
                return place
        where = " or ".join(str(place.parent) for place in self._places)
        why = f"there is no tmpfs for its key: {where}" if where else "only the embedded driver can"
        raise HypervisorError("use an encrypted disk", why)


@contextlib.contextmanager
def _naming(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HypervisorError(what, f"key file: {error.strerror}") from error


def _is_tmpfs(path: Path) -> bool:
    """Ask statfs(2), whose answer begins with the file system's magic number."""
    answer = ctypes.create_string_buffer(_MOST_OF_STATFS)
    if ctypes.CDLL(None, use_errno=True).statfs(os.fsencode(path), answer) != 0:
        return False
    return ctypes.c_long.from_buffer(answer).value == _TMPFS_MAGIC
