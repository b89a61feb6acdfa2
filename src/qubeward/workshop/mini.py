"""Builds the mini template: busybox and a few scripts, booted in seconds even without KVM."""

from pathlib import Path

from . import programs
from .ext4 import make_image
from .initramfs import guest_file
from .kernel import BUSYBOX_PACKAGE, busybox_bytes
from .packages import Progress, find_package
from .publish import digest_of, publish_image, staging

_SIZE_MIB = 64
# Raise when what is made of the same package and guest files changes.
_RECIPE = "1"

_FOLDERS = (
    *("bin", "dev", "etc/acpi/PWRF", "etc/init.d", "lib/modules", "mnt", "proc", "root", "run"),
    *("rw", "sbin", "sys", "tmp", "usr/bin", "usr/sbin", "var/log", "volatile"),
)
# Where a guest file goes, and its mode.
_GUEST_FILES = {
    "mini-inittab": ("etc/inittab", 0o644),
    "mini-rcS": ("etc/init.d/rcS", 0o755),
    "mini-rcK": ("etc/init.d/rcK", 0o755),
    "mini-profile": ("etc/profile", 0o644),
    # The name is the event that busybox's acpid makes of a pressed power button.
    "mini-power": ("etc/acpi/PWRF/00000080", 0o755),
}
_TEXTS = {
    "etc/passwd": "root::0:0:root:/root:/bin/sh\nuser::1000:1000:user:/rw/home:/bin/sh\n",
    "etc/group": "root:x:0:\nuser:x:1000:\n",
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "etc/os-release": 'ID=qubeward-mini\nNAME="qubeward mini guest"\n',
}
_LINKS = {"etc/mtab": "/proc/mounts", "var/run": "../run", "var/tmp": "../tmp"}


def build_mini(root_image: Path, cache_dir: Path, progress: Progress) -> None:
    """Build the root image of the mini template at `root_image`, replacing what is there."""
    programs.require("mini")
    package = find_package(BUSYBOX_PACKAGE)
    scripts = [guest_file(name) for name in _GUEST_FILES]
    key = digest_of(_RECIPE, package.digest, *scripts, repr((_FOLDERS, _TEXTS, _LINKS)))

    def make(image: Path) -> None:
        progress("building the mini root image")
        with staging(cache_dir, "mini") as folder:
            tree = folder / "tree"
            _fill(tree, busybox_bytes(package, cache_dir, progress))
            make_image(image, tree, size_mib=_SIZE_MIB, label="root")

    publish_image(root_image, cache_dir=cache_dir, name="mini", key=key, make=make)
    progress("the mini root image is ready")


def _fill(tree: Path, busybox: bytes) -> None:
    for name in _FOLDERS:
        (tree / name).mkdir(parents=True, exist_ok=True)
    for name, text in _TEXTS.items():
        (tree / name).write_text(text)
    for name, target in _LINKS.items():
        (tree / name).symlink_to(target)
    for name, (place, mode) in _GUEST_FILES.items():
        (tree / place).write_bytes(guest_file(name))
        (tree / place).chmod(mode)
    program = tree / "bin/busybox"
    program.write_bytes(busybox)
    program.chmod(0o755)
    for applet in programs.call(str(program), "--list-full").decode().split():
        link = tree / applet
        if not link.exists():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to("/bin/busybox")
    for folder in (tree, *tree.rglob("*")):
        if folder.is_dir() and not folder.is_symlink():
            folder.chmod(0o755)
