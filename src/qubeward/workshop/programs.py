"""The host's programs that builds need, and running them."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..host import process
from .errors import WorkshopError


@dataclass(frozen=True, slots=True)
class Program:
    """A program, the Debian package that has it, and which builds use it.

    `for_users`: it stands in for root's rights, so root does without.
    """

    name: str
    package: str
    builds: frozenset[str]
    for_users: bool = False


ALL_BUILDS = frozenset({"kernel", "mini", "debian"})
PROGRAMS = (
    Program("apt-get", "apt", ALL_BUILDS),
    Program("apt-cache", "apt", ALL_BUILDS),
    Program("apt-config", "apt", frozenset({"debian"})),
    Program("dpkg-deb", "dpkg", frozenset({"kernel", "mini"})),
    Program("depmod", "kmod", frozenset({"kernel"})),
    Program("mke2fs", "e2fsprogs", ALL_BUILDS),
    Program("fakeroot", "fakeroot", ALL_BUILDS, for_users=True),
    Program("cp", "coreutils", frozenset({"mini", "debian"})),
    Program("tar", "tar", frozenset({"debian"})),
    Program("mmdebstrap", "mmdebstrap", frozenset({"debian"})),
    Program("newuidmap", "uidmap", frozenset({"debian"}), for_users=True),
)

# A normal user's PATH lacks the folders that hold mke2fs and depmod.
_SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def missing_programs(builds: frozenset[str] = ALL_BUILDS) -> list[tuple[str, str]]:
    """List what these builds need and the host lacks: (program, Debian package)."""
    is_root = os.geteuid() == 0
    return [
        (program.name, program.package)
        for program in PROGRAMS
        if program.builds & builds
        and not (program.for_users and is_root)
        and _find(program.name) is None
    ]


def require(build: str) -> None:
    """Raise unless the host has every program that this build needs."""
    missing = missing_programs(frozenset({build}))
    if missing:
        names = ", ".join(name for name, _ in missing)
        packages = " ".join(sorted({package for _, package in missing}))
        raise WorkshopError(f"this host lacks {names}; try: apt-get install {packages}")


def call(
    name: str,
    *words: str | Path,
    timeout_s: float = 60,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> bytes:
    """Run a program in the C locale and return its output; its failure is a `WorkshopError`."""
    path = _find(name)
    if path is None:
        raise WorkshopError(f"this host has no program {name}")
    whole_env = {**os.environ, "PATH": _search_path(), "LC_ALL": "C", **(env or {})}
    try:
        done = process.run(
            [path, *(str(word) for word in words)],
            timeout_s=timeout_s,
            cwd=None if cwd is None else str(cwd),
            env=whole_env,
        )
    except process.ProgramError as error:
        raise WorkshopError(str(error)) from error
    return done.stdout


def _search_path() -> str:
    return os.pathsep.join([os.environ.get("PATH", os.defpath), *_SYSTEM_FOLDERS])


def _find(name: str) -> str | None:
    return shutil.which(name, path=_search_path())
