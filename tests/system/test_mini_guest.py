"""The kernel, the initramfs and the mini root image, booted by QEMU alone."""

import os
import shutil
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from guest_images import MiniImages, mini_images
from qemu_guest import Drive, Guest, boot

__all__ = ["mini_images"]

pytestmark = pytest.mark.guest

_MIB = 1 << 20
PROMPT = "root@work:"  # what follows differs between versions of busybox


@dataclass(frozen=True)
class Qube:
    """Fresh disks on which a mini guest boots, any number of times."""

    folder: Path
    images: MiniImages

    @classmethod
    def create(cls, folder: Path, images: MiniImages) -> "Qube":
        shutil.copyfile(images.root, folder / "root")
        blank(folder / "private", 64 * _MIB)
        return cls(folder, images)

    def boot(self, *order: str) -> AbstractAsyncContextManager[Guest]:
        # The host gives a new volatile volume to each start.
        blank(self.folder / "volatile", 512 * _MIB)
        paths = {"kernel": self.images.modules}
        return boot(
            self.folder,
            vmlinuz=self.images.vmlinuz,
            initramfs=self.images.initramfs,
            drives=[
                Drive(
                    serial=serial,
                    path=paths.get(serial, self.folder / serial),
                    read_only=serial == "kernel",
                )
                for serial in order
            ],
            name="work",
        )


def blank(path: Path, size_bytes: int) -> None:
    path.unlink(missing_ok=True)
    path.touch()
    os.truncate(path, size_bytes)


@pytest.fixture
def qube(tmp_path: Path, mini_images: MiniImages) -> Qube:
    return Qube.create(tmp_path, mini_images)


async def test_disks_are_found_by_name_in_any_order_and_private_is_kept(qube: Qube) -> None:
    async with qube.boot("root", "private", "volatile", "kernel") as guest:
        await guest.until("qubeward: root on vda, private on vdb, volatile on vdc")
        await guest.until("qubeward: qube work is up")
        await guest.until(PROMPT)
        assert await guest.run("hostname") == "work"
        mounts = await guest.run("cut -d' ' -f1-3 /proc/mounts")
        assert "/dev/disk/by-qube/root / ext4" in mounts
        assert "/dev/disk/by-qube/private /rw ext4" in mounts
        assert "/dev/disk/by-qube/volatile /volatile ext4" in mounts
        assert await guest.run("cd /lib/modules/*-*; pwd") == f"/lib/modules/{qube.images.version}"
        assert "dm_mod" in await guest.run("modprobe dm-mod; cat /proc/modules")
        await guest.run("echo kept > /rw/kept; echo gone > /volatile/gone")
        guest.type("poweroff")
        await guest.end(timeout_s=15)

    async with qube.boot("kernel", "volatile", "private", "root") as guest:
        await guest.until("qubeward: root on vdd, private on vdc, volatile on vdb")
        await guest.until(PROMPT)
        assert await guest.run("cat /rw/kept") == "kept"
        assert await guest.run("ls /volatile") == "lost+found"
        assert "unmounted uncleanly" not in await guest.run("dmesg")


async def test_power_button_turns_the_guest_off_cleanly(qube: Qube) -> None:
    async with qube.boot("root", "private") as guest:
        await guest.until("volatile on none")
        await guest.until(PROMPT)
        await guest.run("echo kept > /rw/kept")
        await guest.press_power_button()
        await guest.until("qubeward: qube work is down", timeout_s=10)
        await guest.end(timeout_s=5)
    async with qube.boot("root", "private") as guest:
        await guest.until(PROMPT)
        assert await guest.run("cat /rw/kept") == "kept"
        assert "recovery complete" not in await guest.run("dmesg")


async def test_private_disk_with_other_content_is_left_alone(qube: Qube) -> None:
    private = qube.folder / "private"
    private.write_bytes(b"\0" * 4096 + b"not a file system" + bytes(_MIB))
    before = private.read_bytes()
    async with qube.boot("root", "private") as guest:
        await guest.until("qubeward: private is neither blank nor ext4: left alone")
        await guest.until("root@work:/# ")
    assert private.read_bytes() == before


async def test_guest_without_a_root_disk_says_so_and_ends(qube: Qube) -> None:
    async with qube.boot("private", "kernel") as guest:
        await guest.until("qubeward: no disk has the serial root")
        await guest.end(timeout_s=10)
