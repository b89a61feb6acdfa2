"""A guest that has LVM, Python and this tree's tests: built once, booted by QEMU alone.

`zfs_guest.py` makes one with ZFS by the same means.

Its root image is packages that are unpacked and never installed, so that it takes seconds to build.
What it runs comes on a second disk, made anew each time; a third, empty, is for its volume group.
"""

import asyncio
import importlib.metadata
import os
import random
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from guest_images import MiniImages, build_lock, cache_dir
from qemu_guest import Drive, Guest, boot
from qubeward.workshop import programs
from qubeward.workshop.debian import SUITE
from qubeward.workshop.ext4 import make_image, make_image_of_tar, size_for
from qubeward.workshop.publish import digest_of, publish_image, staging
from qubeward.workshop.sources import host_sources, network_options

PACKAGES = (
    "base-files", "busybox-static", "coreutils", "dash", "dmsetup", "kmod", "libc-bin", "lvm2",
    "python3", "python3-cryptography", "thin-provisioning-tools",
)  # fmt: skip
#: Pure Python, from the environment that runs this: the guest's tests run as the host's do.
OF_PYTHON = (
    "iniconfig", "packaging", "pluggy", "pygments", "pytest", "pytest-asyncio", "typing-extensions",
)  # fmt: skip
HERE = Path(__file__).parent
TREE = HERE.parents[1]
MIB = 1 << 20
#: Says all that it knows to the device mapper itself: nobody answers for udev in this guest.
LVM_CONF = """
activation { udev_sync = 0 udev_rules = 0 monitoring = 0 verify_udev_operations = 0 }
activation { reserved_stack = 0 reserved_memory = 0 }
allocation { thin_pool_zero = 1 }
backup { backup = 0 archive = 0 }
devices { filter = [ "a|^/dev/vd|", "r|.*|" ] scan = [ "/dev" ] obtain_device_list_from_udev = 0 }
devices { external_device_info_source = "none" use_devicesfile = 0 }
global { event_activation = 0 use_lvmpolld = 0 use_aio = 0 }
"""
INIT = """#!/bin/busybox sh
exec /bin/busybox sh -c '/bin/busybox mount -t ext4 -o ro "$(/bin/busybox readlink -f \
    /dev/disk/by-qube/cargo)" /cargo && exec /bin/busybox sh /cargo/init'
"""
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_RECIPE = "1"


def build_root(
    root: Path,
    packages: Sequence[str] = PACKAGES,
    name: str = "lvm",
    components: Sequence[str] = ("main",),
) -> None:
    """Build the root image at `root`, or copy it from the cache."""
    lines, state = debian_sources(components)
    key = digest_of(_RECIPE, repr(packages), LVM_CONF, INIT, repr(lines), state)

    def make(image: Path) -> None:
        with staging(cache_dir(), name) as folder:
            ours = folder / "ours"
            for path, text in {"etc/lvm/lvm.conf": LVM_CONF, "sbin/init": INIT}.items():
                (ours / path).parent.mkdir(parents=True, exist_ok=True)
                (ours / path).write_text(text)
                (ours / path).chmod(0o755)
            extract(
                packages,
                lines,
                folder / "root.tar",
                'mkdir -p "$1/cargo" "$1/lib/modules" "$1/bb"',
                f"sync-in '{ours}' /",
                # Emulated, compiling takes longer than all else.
                'chroot "$1" python3 -m compileall -q /usr/lib/python3.11 /usr/lib/python3'
                " >/dev/null || true",
                'chroot "$1" /sbin/ldconfig',
            )
            tree = folder / "tree"
            tree.mkdir()
            make_image_of_tar(image, folder / "root.tar", tree, size_mib=768, label="root")

    with build_lock():
        publish_image(root, cache_dir=cache_dir(), name=name, key=key, make=make)


def debian_sources(components: Sequence[str]) -> tuple[list[str], str]:
    """Return lines of sources with these components, and what tells apart what they offered."""
    sources = host_sources(SUITE)
    places = {line.rpartition(" ")[0]: None for line in sources.lines}
    return [f"{place} {' '.join(components)}" for place in places], sources.state


def extract(packages: Sequence[str], lines: Sequence[str], tar: Path | None, *hooks: str) -> None:
    """Unpack packages, with all that they need, and run these commands on what is there then."""
    programs.call(
        "mmdebstrap",
        "--mode=root" if os.geteuid() == 0 else "--mode=unshare",
        *("--quiet", "--variant=extract", f"--include={','.join(packages)}"),
        f"--keyring={_KEYRING}",
        *(f"--aptopt={option}" for option in network_options()),
        *(f"--extract-hook={hook}" for hook in hooks),
        *(() if tar else ("--format=null",)),
        *(SUITE, tar or "/dev/null"),
        *lines,
        timeout_s=1800,
    )


def build_cargo(image: Path, init: Path, tests: Sequence[str], more: Sequence[Path] = ()) -> None:
    """Make an image of this tree's code, these of its tests, what runs them, and more folders."""
    folder = image.with_suffix(".d")
    skipped = shutil.ignore_patterns("__pycache__")
    shutil.copytree(TREE / "src" / "qubeward", folder / "src" / "qubeward", ignore=skipped)
    for test in tests:
        (folder / "tests" / test).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(TREE / "tests" / test, folder / "tests" / test)
    for name in OF_PYTHON:
        for file in importlib.metadata.files(name) or ():
            path = Path(str(file.locate()))
            if path.is_file() and ".." not in file.parts and path.suffix != ".pyc":
                (folder / "packages" / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, folder / "packages" / file)
    for place in more:
        shutil.copytree(place, folder / place.name)
    shutil.copyfile(HERE / "lvm_guest_conftest.py", folder / "tests" / "conftest.py")
    shutil.copyfile(init, folder / "init")
    make_image(image, folder, size_mib=size_for(folder), label="cargo", journal=False)
    shutil.rmtree(folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class LvmGuest:
    """A guest's disks. `folder` is its own: what is on `data` stays for its next boot."""

    folder: Path
    images: MiniImages
    root: Path
    cargo: Path
    memory_mib: int = 384

    @asynccontextmanager
    async def boot(self) -> AsyncIterator[Guest]:
        """Boot it, and return once it waits to be told what to run."""
        data = self.folder / "data"
        if not data.exists():
            data.touch()
            os.truncate(data, 4096 * MIB)
        drives = [
            Drive(serial="kernel", path=self.images.modules, read_only=True),
            Drive(serial="root", path=self.root),
            Drive(serial="cargo", path=self.cargo, read_only=True),
            Drive(serial="data", path=data),
        ]
        async with boot(
            self.folder,
            vmlinuz=self.images.vmlinuz,
            initramfs=self.images.initramfs,
            drives=drives,
            name="storage",
            memory_mib=self.memory_mib,
        ) as guest:
            await guest.until("storage guest: what shall I run?", timeout_s=60)
            yield guest

    async def run(self, line: str, timeout_s: float) -> str:
        """Boot it, run one line of its shell, and return what that printed; it must succeed."""
        async with self.boot() as guest:
            guest.type(line)
            await guest.until("storage guest: begin\r\n")
            said = await guest.until("storage guest: exit status ", timeout_s)
            status = await guest.until("\r\n")
            assert status == "0", said
            return said

    async def cut_power(self, times: int) -> None:
        """Cut the power while `lvm_guest_commits.py` runs; what it has committed must be there."""
        committed = 0
        for cut in range(times + 1):
            async with self.boot() as guest:
                guest.type("commits")
                await guest.until("storage guest: begin\r\n")
                if cut > 0:
                    await guest.until("found ")
                    found = int(await guest.until("\r\n"))
                    print(f"{committed} was committed, {found} was found")
                    assert found >= committed
                    committed = found
                if cut < times:
                    committed += 1
                    await guest.until(f"committed {committed}\r\n")
                    await asyncio.sleep(random.uniform(0, 1))
