"""Builds a Debian template: systemd, a root console, the qube's disks by name, no network."""

import os
from pathlib import Path

from . import programs
from .errors import WorkshopError
from .ext4 import make_image_of_tar
from .initramfs import guest_file
from .packages import Progress
from .publish import digest_of, publish_image, staging
from .sources import Sources, host_sources, network_options

SUITE = "bookworm"
PACKAGES = ("systemd-sysv", "dbus", "udev", "kmod", "e2fsprogs", "iproute2", "procps")
_SIZE_MIB = 2048
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# Raise when what is made of the same packages and guest files changes.
_RECIPE = "1"

# Where a guest file goes, and its mode.
_GUEST_FILES = {
    "debian-fstab": ("etc/fstab", 0o644),
    "debian-rules": ("etc/udev/rules.d/70-qubeward.rules", 0o644),
    "debian-getty.conf": ("etc/systemd/system/serial-getty@.service.d/autologin.conf", 0o644),
    "debian-private.service": ("etc/systemd/system/qubeward-private.service", 0o644),
    "debian-up.service": ("etc/systemd/system/qubeward-up.service", 0o644),
    "debian-private": ("usr/lib/qubeward/private", 0o755),
    "debian-up": ("usr/lib/qubeward/up", 0o755),
}
_HOOKS = (
    'mkdir -p "$1/rw" "$1/lib/modules"',
    'chroot "$1" systemctl --quiet enable qubeward-private.service qubeward-up.service',
    'chroot "$1" useradd --create-home --shell /bin/bash user',
    # mmdebstrap copies these from the host; the host's proxy is no business of the guest's.
    'rm -f "$1/etc/hostname" "$1/etc/resolv.conf" "$1/etc/apt/apt.conf.d/99mmdebstrap"',
)


def build_debian(root_image: Path, cache_dir: Path, progress: Progress) -> None:
    """Build the root image of a Debian template at `root_image`, replacing what is there.

    Anew only when the host's apt has news of Debian, or what this package puts in has changed.
    """
    programs.require("debian")
    if not _KEYRING.exists():
        raise WorkshopError(f"no {_KEYRING}; try: apt-get install debian-archive-keyring")
    sources = host_sources(SUITE)
    files = [guest_file(name) for name in _GUEST_FILES]
    words = repr((SUITE, PACKAGES, _SIZE_MIB, _GUEST_FILES, _HOOKS, sources.lines))
    key = digest_of(_RECIPE, words, sources.state, *files)

    def make(image: Path) -> None:
        progress(f"building Debian {SUITE}; this takes some minutes")
        with staging(cache_dir, "debian") as folder:
            _bootstrap(folder, sources)
            progress("making the root image")
            tree = folder / "tree"
            tree.mkdir()
            make_image_of_tar(image, folder / "root.tar", tree, size_mib=_SIZE_MIB, label="root")

    publish_image(root_image, cache_dir=cache_dir, name="debian", key=key, make=make)
    progress("the Debian root image is ready")


def _bootstrap(folder: Path, sources: Sources) -> None:
    ours = folder / "ours"
    for name, (place, mode) in _GUEST_FILES.items():
        path = ours / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(guest_file(name))
        path.chmod(mode)
    programs.call(
        "mmdebstrap",
        "--mode=root" if os.geteuid() == 0 else "--mode=unshare",
        *("--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}"),
        f"--keyring={_KEYRING}",
        *(f"--aptopt={option}" for option in network_options()),
        f"--customize-hook=sync-in '{ours}' /",
        *(f"--customize-hook={hook}" for hook in _HOOKS),
        *(SUITE, folder / "root.tar"),
        *sources.lines,
        timeout_s=1800,
    )
