"""The initramfs of a qube: busybox, the modules that reach its disks, and the first program."""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from .cpio import Archive
from .modules import load_order, parse_dependencies

# In the order they are loaded: buses, then disks, then what a guest should have from the start.
WANTED = (
    "virtio_pci",
    "virtio_blk",
    "ext4",
    "virtio_console",
    "virtio_balloon",
    "virtio_rng",
    "virtio_net",
    "evdev",
    "button",
)
_FOLDERS = ("bin", "dev", "lib", "lib/modules", "proc", "sys", "sysroot")


def guest_file(name: str) -> bytes:
    """Return one of the files that this package has for guests."""
    return resources.files("qubeward.workshop").joinpath("files", name).read_bytes()


def order_of_modules(modules_dir: Path) -> list[str]:
    """Return the paths, below a kernel's module folder, of what the initramfs loads, in order."""
    needs = parse_dependencies((modules_dir / "modules.dep").read_text())
    builtin = (modules_dir / "modules.builtin").read_text().split()
    return load_order(WANTED, needs, builtin)


def build_initramfs(busybox: bytes, modules_dir: Path, order: Sequence[str]) -> bytes:
    """Return the archive; compressed by gzip or lz4 it boots no sooner on an emulated CPU."""
    archive = Archive()
    for folder in _FOLDERS:
        archive.folder(folder)
    # The kernel gives /init this console, before there is a devtmpfs.
    archive.character_device("dev/console", 5, 1)
    archive.file("init", guest_file("initramfs-init"), 0o755)
    archive.file("bin/busybox", busybox, 0o755)
    for path in order:
        archive.file(f"lib/modules/{Path(path).name}", (modules_dir / path).read_bytes())
    names = "".join(f"{Path(path).name}\n" for path in order)
    archive.file("lib/modules/order", names.encode())
    return archive.close()
