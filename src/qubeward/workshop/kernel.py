"""Builds what a qube boots with: Debian's cloud kernel, our initramfs, an image of the modules."""

import shutil
from pathlib import Path

from . import programs
from .errors import WorkshopError
from .ext4 import make_image, size_for
from .initramfs import WANTED, build_initramfs, guest_file, order_of_modules
from .packages import (
    Package,
    Progress,
    fetch,
    find_dependency,
    find_package,
    unpack,
)
from .publish import READABLE, digest_of, staging

KERNEL_PACKAGE = "linux-image-cloud-amd64"
BUSYBOX_PACKAGE = "busybox-static"
_IMAGE_PREFIX = "linux-image-"
_OUTPUTS = ("vmlinuz", "initramfs", "modules.img")
_STAMP = ".made-from"
# Raise when what is made of the same packages and guest files changes.
_RECIPE = "1"


def build_kernel(kernels_dir: Path, cache_dir: Path, progress: Progress) -> str:
    """Build `<kernels_dir>/<version>/{vmlinuz,initramfs,modules.img}` and return the version."""
    programs.require("kernel")
    package = find_package(find_dependency(KERNEL_PACKAGE, rf"{_IMAGE_PREFIX}\d\S*"))
    busybox = find_package(BUSYBOX_PACKAGE)
    version = package.name.removeprefix(_IMAGE_PREFIX)
    key = digest_of(_RECIPE, package.digest, busybox.digest, guest_file("initramfs-init"), *WANTED)
    dest = kernels_dir / version
    if _is_made_from(dest, key):
        progress(f"kernel {version} is up to date")
        return version
    with staging(kernels_dir, version) as folder:
        unpacked = folder / "unpacked"
        unpack(fetch(package, cache_dir, progress), unpacked)
        progress(f"building kernel {version}")
        fresh = folder / "fresh"
        fresh.mkdir()
        _make(fresh, unpacked, version, busybox_bytes(busybox, cache_dir, progress))
        (fresh / _STAMP).write_text(key)
        fresh.chmod(0o755)
        for name in _OUTPUTS:
            (fresh / name).chmod(READABLE)
        _publish(fresh, dest)
    progress(f"kernel {version} is ready")
    return version


def busybox_bytes(package: Package, cache_dir: Path, progress: Progress) -> bytes:
    """Return Debian's static busybox; the host's own may be linked to the host's libraries."""
    deb = fetch(package, cache_dir, progress)
    with staging(cache_dir, "busybox") as folder:
        unpack(deb, folder)
        # /usr/bin since Debian 13
        for place in ("bin/busybox", "usr/bin/busybox"):
            if (folder / place).is_file():
                return (folder / place).read_bytes()
    raise WorkshopError(f"package {package.file} has no busybox")


def _make(fresh: Path, unpacked: Path, version: str, busybox: bytes) -> None:
    vmlinuz = unpacked / "boot" / f"vmlinuz-{version}"
    modules = _modules_folder(unpacked)
    if not vmlinuz.is_file() or not (modules / version).is_dir():
        raise WorkshopError(f"the package of kernel {version} lacks its vmlinuz or its modules")
    shutil.copyfile(vmlinuz, fresh / "vmlinuz")
    # The package's install scripts would do this.
    programs.call("depmod", "--basedir", modules.parent.parent, version)
    order = order_of_modules(modules / version)
    (fresh / "initramfs").write_bytes(build_initramfs(busybox, modules / version, order))
    make_image(
        fresh / "modules.img", modules, size_mib=size_for(modules), label="modules", journal=False
    )


def _modules_folder(unpacked: Path) -> Path:
    # Merged /usr since Debian 13; depmod looks in lib below its base in either.
    usr = unpacked / "usr/lib/modules"
    return usr if usr.is_dir() else unpacked / "lib/modules"


def _is_made_from(dest: Path, key: str) -> bool:
    stamp = dest / _STAMP
    if not stamp.is_file() or not all((dest / name).is_file() for name in _OUTPUTS):
        return False
    return stamp.read_text() == key


def _publish(fresh: Path, dest: Path) -> None:
    if not dest.exists():
        fresh.rename(dest)
        return
    # Qubes may start from it now: replaced file by file, the stamp last, it is never missing.
    for name in (*_OUTPUTS, _STAMP):
        (fresh / name).replace(dest / name)
