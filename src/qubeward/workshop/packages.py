"""Debian packages: found by the host's own apt, downloaded and unpacked, never installed."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .errors import WorkshopError
from .programs import call
from .publish import staging

Progress = Callable[[str], None]

# As `apt-get download --print-uris` prints: 'URI' FILE SIZE ALGORITHM:HEX
_URI_LINE = re.compile(
    rb"^'[^']*' (?P<file>[\w.+~%:-]+\.deb) (?P<size>\d+) (?P<algorithm>\w+):(?P<digest>[0-9a-f]+)$",
    re.MULTILINE,
)
_UPDATE_HINT = "; try: apt-get update"


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A package file as apt's signed indexes name it."""

    name: str
    file: str
    size_bytes: int
    algorithm: str
    digest: str


def find_dependency(package: str, pattern: str) -> str:
    """Return the name of the one dependency of `package` that matches `pattern`."""
    try:
        text = call("apt-cache", "depends", package).decode()
    except WorkshopError as error:
        raise WorkshopError(f"apt knows no package {package}{_UPDATE_HINT}") from error
    found = re.search(rf"^\s*Depends: ({pattern})$", text, re.MULTILINE)
    if found is None:
        raise WorkshopError(f"package {package} depends on no {pattern}{_UPDATE_HINT}")
    return found[1]


def find_package(name: str) -> Package:
    """Ask apt which file has the package; needs no network."""
    try:
        output = call("apt-get", "download", "--print-uris", name)
    except WorkshopError as error:
        raise WorkshopError(f"apt knows no package {name}{_UPDATE_HINT}") from error
    return parse_uri_line(name, output)


def parse_uri_line(name: str, output: bytes) -> Package:
    """Parse what `apt-get download --print-uris` said of one package."""
    found = _URI_LINE.search(output)
    if found is None:
        raise WorkshopError(f"apt names no file for package {name}{_UPDATE_HINT}")
    return Package(
        name=name,
        file=found["file"].decode(),
        size_bytes=int(found["size"]),
        algorithm=found["algorithm"].decode().lower(),
        digest=found["digest"].decode(),
    )


def fetch(package: Package, cache_dir: Path, progress: Progress) -> Path:
    """Return the package's file, downloaded unless the cache has it."""
    debs = cache_dir / "debs"
    kept = debs / package.file
    if kept.exists() and _is_intact(package, kept):
        return kept
    progress(f"downloading {package.file} ({package.size_bytes / 1e6:.1f} MB)")
    with staging(debs, package.name) as folder:
        try:
            call(
                "apt-get",
                "-qq",
                # apt's own account may not write here, and root's apt would warn of it.
                "--option=APT::Sandbox::User=root",
                "download",
                package.name,
                cwd=folder,
                timeout_s=600,
            )
        except WorkshopError as error:
            raise WorkshopError(f"{error}{_UPDATE_HINT}") from error
        fresh = folder / package.file
        if not fresh.exists() or not _is_intact(package, fresh):
            raise WorkshopError(f"apt downloaded another file than {package.file}{_UPDATE_HINT}")
        fresh.replace(kept)
    return kept


def unpack(deb: Path, folder: Path) -> None:
    """Unpack the package's files below `folder`, running none of its scripts."""
    call("dpkg-deb", "--extract", deb, folder, timeout_s=120)


def _is_intact(package: Package, path: Path) -> bool:
    if path.stat().st_size != package.size_bytes:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, package.algorithm).hexdigest() == package.digest
