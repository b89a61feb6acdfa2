"""The directory that libvirt's embedded driver lives in, and its settings there."""

import contextlib
import hashlib
import os
import pwd
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from ..errors import HypervisorError

DEFAULT_ACCOUNT = "qubeward-qemu"

# a monitor socket is <root>/lib/qemu/domain-<id>-<20 characters>/monitor.sock, below 108 bytes
_LONGEST_ROOT = 50

# Domains get no mount namespace of their own: making one costs each start a second where /dev is
# large, and the account keeps QEMU out of what matters. No cgroups: only a host with systemd could
# give them, and guests should be the same everywhere. Ownership is ours (`access`): libvirt's would
# hand files that many guests read to QEMU, writable, and take them back when the first guest ends.
_QEMU_CONF = """\
# Written by qubeward at each start.
stdio_handler = "file"
security_driver = "{security_driver}"
{account}
dynamic_ownership = 0
remember_owner = 0
namespaces = []
cgroup_controllers = []
seccomp_sandbox = 1
"""


@dataclass(frozen=True, slots=True)
class Account:
    """Who QEMU runs as."""

    name: str
    uid: int
    gid: int


def embed_root(root: Path, *, is_root: bool) -> Path:
    """Return the directory of the embedded driver that serves the system below `root`.

    It depends on `root` alone, so that a restarted daemon finds its guests.
    """
    digest = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:8]
    if is_root:
        return Path("/run/qubeward/e") / digest
    below = root.resolve() / "run/qubeward/e"
    if len(os.fsencode(below)) <= _LONGEST_ROOT:
        return below
    runtime = Path(f"/run/user/{os.getuid()}")
    if runtime.is_dir():
        return runtime / "qubeward" / digest
    return Path(f"/tmp/qubeward-{os.getuid()}") / digest  # noqa: S108  # `own_directory` checks it


def embed_uri(directory: Path) -> str:
    """Return the libvirt URI of the embedded driver in this directory."""
    return f"qemu:///embed?root={directory}"


def directory_of(uri: str) -> Path | None:
    """Return the directory of an embedded driver's URI, None for other URIs."""
    scheme, _, directory = uri.partition("/embed?root=")
    return Path(directory) if scheme == "qemu://" and directory else None


def find_account(name: str) -> Account | None:
    """Return who QEMU will run as: the named account, or (when not root) None for ourselves.

    Raises `HypervisorError` if we are root and there is no such account, or it is root itself.
    """
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(name)
    except KeyError as error:
        why = (
            f"the account {name} is missing, and QEMU must not run as root; make it with:"
            f" useradd --system --user-group --no-create-home --shell /usr/sbin/nologin {name}"
        )
        raise HypervisorError("set up", why) from error
    if entry.pw_uid == 0:
        raise HypervisorError("set up", f"the account {name} is root; QEMU must not run as root")
    return Account(name, entry.pw_uid, entry.pw_gid)


def prepare(
    directory: Path, *, account: Account | None, security_driver: str, capabilities: Path | None
) -> None:
    """Make the directory and write its settings, before libvirt first looks at it."""
    if account is None and os.geteuid() == 0:
        raise HypervisorError("set up", "QEMU must not run as root: it needs an account")
    if len(os.fsencode(directory)) > _LONGEST_ROOT:
        why = f"{directory} is too long for libvirt's sockets (at most {_LONGEST_ROOT} bytes)"
        raise HypervisorError("set up", why)
    try:
        for mine in (directory.parent, directory):
            own_directory(mine)
        for name in _TREE:
            (directory / name).mkdir(mode=0o711, exist_ok=True)
        settings = _QEMU_CONF.format(
            security_driver=security_driver,
            account=(
                f'user = "+{account.uid}"\ngroup = "+{account.gid}"' if account is not None else ""
            ),
        )
        (directory / "etc/qemu.conf").write_text(settings)
        if capabilities is not None:
            _copy_missing(capabilities, directory / _CAPABILITIES)
    except OSError as error:
        raise HypervisorError("set up", f"{error.filename}: {error.strerror}") from error


def own_directory(path: Path) -> None:
    """Make the directory if it isn't there; raise `HypervisorError` if it isn't ours."""
    path.mkdir(mode=0o711, parents=True, exist_ok=True)
    if not is_own_directory(path):
        raise HypervisorError("set up", f"{path} belongs to somebody else")


def is_own_directory(path: Path) -> bool:
    """Say whether this is a directory (no link to one) that nobody else can replace."""
    try:
        found = path.lstat()  # one look: in /tmp, the next may find another thing there
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid in {0, os.geteuid()}


def keep_capabilities(directory: Path, capabilities: Path) -> None:
    """Keep what libvirt found out about QEMU, which takes it seconds, for new directories."""
    with contextlib.suppress(OSError):  # it is only a cache
        _copy_missing(directory / _CAPABILITIES, capabilities)


_CAPABILITIES = "cache/qemu/capabilities"
_TREE = ("etc", "lib", "lib/qemu", "cache", "cache/qemu", _CAPABILITIES, "run", "log")


def _copy_missing(source: Path, target: Path) -> None:
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    for file in source.glob("*.xml"):
        if not (target / file.name).exists():
            new = target / f".{file.name}.new"
            shutil.copyfile(file, new)
            new.replace(target / file.name)
