"""The `zfs` driver on a real ZFS, in guests. `scripts/test-zfs` runs this: it is no part of others.

Debian has ZFS as source alone, to be compiled for a kernel: that takes minutes, once.
"""

import asyncio
import os
import re
import shutil
import tarfile
from pathlib import Path

import pytest

from guest_images import MiniImages, build_lock, cache_dir, mini_images
from qubeward.workshop.publish import digest_of, publish_image, staging
from system.lvm_guest import (
    HERE,
    LvmGuest,
    build_cargo,
    build_root,
    debian_sources,
    extract,
)

__all__ = ["mini_images"]

COMPONENTS = ("main", "contrib")
PACKAGES = (
    "base-files", "busybox-static", "coreutils", "dash", "kmod", "libc-bin", "python3",
    "python3-cryptography", "udev", "zfsutils-linux",
)  # fmt: skip
COMPILERS = (
    "base-files", "bash", "binutils", "coreutils", "dash", "diffutils", "file", "findutils", "gcc",
    "grep", "libc6-dev", "make", "mawk", "perl", "sed", "zfs-dkms",
)  # fmt: skip
TESTS = (
    "drivers/conftest.py",
    "drivers/filesystems.py",
    "drivers/test_storage.py",
    "system/lvm_guest_commits.py",
    "system/zfs_guest_facts.py",
    "unit/storage/kills.py",
    "unit/storage/test_lvm_crashes.py",
    "unit/storage/test_lvm_model.py",
    "unit/storage/test_zfs_crashes.py",
    "unit/storage/test_zfs_model.py",
)
CONTRACT = "drivers/test_storage.py"
FACTS, KILLS = "system/zfs_guest_facts.py", "unit/storage/test_zfs_crashes.py"
MODULES = ("spl", "zavl", "znvpair", "zunicode", "zlua", "zcommon", "icp", "zzstd", "zfs")
COMPILE = """set -eu
cd "$1"
ln -sf mawk usr/bin/awk
cat >compile <<'END'
set -eu
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
cp -r /usr/src/zfs-* /build
cd /build
./configure --prefix=/usr --with-config=kernel --with-linux=/usr/src/linux-headers-COMMON \
    --with-linux-obj=/usr/src/linux-headers-VERSION
make -s -j JOBS
mkdir /modules
for module in $(find module -name '*.ko'); do
    strip --strip-debug -o "/modules/${module##*/}" "$module"
done
END
chroot . sh /compile >compile.log 2>&1 || { tail -n 20 compile.log >&2; exit 1; }
"""
CUTS = 6
_RECIPE = "1"


def build_modules(tar: Path, version: str) -> None:
    """Compile ZFS for a kernel of Debian's into `tar`, or copy it from the cache."""
    lines, state = debian_sources(COMPONENTS)
    key = digest_of(_RECIPE, version, COMPILE, repr(COMPILERS), repr(lines), state)
    compiling = (
        COMPILE.replace("COMMON", version.replace("-cloud-amd64", "-common"))
        .replace("VERSION", version)
        .replace("JOBS", str(os.cpu_count() or 1))
    )

    def make(made: Path) -> None:
        print("compiling ZFS; this takes some minutes")
        with staging(cache_dir(), "zfs") as folder:
            (folder / "hook").write_text(compiling)
            extract(
                (*COMPILERS, f"linux-headers-{version}"),
                lines,
                None,
                f"sh '{folder / 'hook'}' \"$1\"",
                f"sync-out /modules '{folder}'",
            )
            with tarfile.open(made, "w") as archive:
                for name in MODULES:
                    archive.add(folder / f"{name}.ko", f"{name}.ko")

    with build_lock():
        publish_image(tar, cache_dir=cache_dir(), name="zfs-modules", key=key, make=make)


@pytest.fixture
def guests(tmp_path: Path, mini_images: MiniImages) -> list[LvmGuest]:
    """Two guests that may run at a time: an emulated processor takes one of the host's."""
    modules, cargo = tmp_path / "modules", tmp_path / "cargo.img"
    build_modules(tmp_path / "modules.tar", mini_images.version)
    shutil.unpack_archive(tmp_path / "modules.tar", modules)
    build_cargo(cargo, HERE / "zfs_guest_init.sh", TESTS, [modules])
    made = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        root = folder / "root.img"
        build_root(root, PACKAGES, "zfs", COMPONENTS)
        made.append(
            LvmGuest(folder=folder, images=mini_images, root=root, cargo=cargo, memory_mib=768)
        )
    return made


async def test_the_contract_holds_on_a_real_zfs(guests: list[LvmGuest]) -> None:
    lines = (f"tests 0/2 {CONTRACT} {FACTS} {KILLS}", f"tests 1/2 {CONTRACT}")
    said = await asyncio.gather(
        *(guest.run(line, timeout_s=1800) for guest, line in zip(guests, lines, strict=True))
    )
    for words in said:
        print(words)
        found = re.search(r"(\d+) passed", words)
        assert found is not None
        assert int(found[1]) > 20


async def test_a_power_cut_loses_no_commit_on_a_real_zfs(guests: list[LvmGuest]) -> None:
    await guests[0].cut_power(CUTS)
