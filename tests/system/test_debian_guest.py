"""The Debian root image, booted by QEMU alone up to a root shell."""

import os
from pathlib import Path

import pytest

from guest_images import MiniImages, build_lock, cache_dir, mini_images
from qemu_guest import Drive, boot
from qubeward.workshop.debian import build_debian

__all__ = ["mini_images"]

pytestmark = [pytest.mark.guest, pytest.mark.slow]

_MIB = 1 << 20


async def test_debian_boots_with_its_disks_and_obeys_the_power_button(
    tmp_path: Path, mini_images: MiniImages
) -> None:
    root, private, volatile = (tmp_path / name for name in ("root", "private", "volatile"))
    with build_lock():
        build_debian(root, cache_dir(), print)
    for disk, size_mib in ((private, 256), (volatile, 512)):
        disk.touch()
        os.truncate(disk, size_mib * _MIB)
    os.truncate(root, 3072 * _MIB)
    drives = [
        Drive(serial="kernel", path=mini_images.modules, read_only=True),
        Drive(serial="volatile", path=volatile),
        Drive(serial="private", path=private),
        Drive(serial="root", path=root),
    ]
    for attempt in ("first", "second"):
        async with boot(
            tmp_path,
            vmlinuz=mini_images.vmlinuz,
            initramfs=mini_images.initramfs,
            drives=drives,
            name="work",
            memory_mib=384,
        ) as guest:
            await guest.until("qubeward: root on vdd, private on vdc, volatile on vdb", 180)
            await guest.until("qubeward: qube work is up")
            await guest.until("root@work:~# ")
            assert "/dev/vdc /rw ext4" in await guest.run("cut -d' ' -f1-3 /proc/mounts")
            assert "/dev/vdb" in await guest.run("cat /proc/swaps")
            assert await guest.run("systemctl is-failed '*' --quiet || echo fine") == "fine"
            assert int(await guest.run("df --output=size -m / | tail -1")) > 2500
            if attempt == "first":
                await guest.run("echo kept > /home/user/kept")
            assert await guest.run("cat /rw/home/user/kept") == "kept"
            await guest.press_power_button()
            await guest.end(timeout_s=60)
