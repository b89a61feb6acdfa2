"""Real guests under libvirt: they boot, speak on their console, and see what is done to them."""

import asyncio

import pytest

from drivers.hypervisors import MiniGuest, World, mini_guest, sparse
from guest_images import MiniImages, mini_images  # noqa: F401  # a fixture
from qubeward.errors import HypervisorError
from qubeward.host.process import run_in_thread
from qubeward.hypervisor.driver import Disk

pytestmark = pytest.mark.guest

MIB = 1 << 20


async def test_a_guest_boots_and_obeys_its_power_button(
    libvirt_world: World,
    mini_images: MiniImages,  # noqa: F811
) -> None:
    guest = mini_guest(libvirt_world, mini_images, "mini")
    await guest.boot()
    await asyncio.sleep(1)  # who listens to the button comes up a moment later
    await libvirt_world.hypervisor.request_shutdown(guest.spec.uuid)
    assert await libvirt_world.until(guest.spec.uuid, None, timeout_s=30) == "shutdown"


async def until_size(guest: MiniGuest, disk: str, size_bytes: int) -> None:
    await guest.run(f"until [ $(cat /sys/block/{disk}/size) = {size_bytes // 512} ]; do :; done")


async def test_a_running_guest_sees_a_disk_grow_and_never_shrink(
    libvirt_world: World,
    mini_images: MiniImages,  # noqa: F811
) -> None:
    hypervisor, folder = libvirt_world.hypervisor, libvirt_world.folder
    raw, qcow2 = sparse(folder / "private.img", 64 * MIB), folder / "other.qcow2"
    argv = ("qemu-img", "create", "-f", "qcow2", str(qcow2), "64M")
    await run_in_thread(argv, timeout_s=10)
    guest = mini_guest(
        libvirt_world,
        mini_images,
        "growing",
        Disk(serial="private", path=str(raw)),
        Disk(serial="other", path=str(qcow2), format="qcow2"),
    )
    uuid = guest.spec.uuid
    await guest.boot()
    for serial, disk in (("private", "vdb"), ("other", "vdc")):
        assert await guest.run(f"cat /sys/block/{disk}/serial") == serial
        await until_size(guest, disk, 64 * MIB)
        await hypervisor.resize_disk(uuid, serial, 96 * MIB)
        await until_size(guest, disk, 96 * MIB)
        with pytest.raises(HypervisorError, match="never less"):
            await hypervisor.resize_disk(uuid, serial, 80 * MIB)
        assert await guest.run(f"cat /sys/block/{disk}/size") == str(96 * MIB // 512)
    assert raw.stat().st_size == 96 * MIB
    end = "dd if=/dev/vdc bs=1M skip=95 2> /dev/null | tr -d '\\0' | wc -c"
    assert await guest.run(f"echo there | dd of=/dev/vdc bs=1M seek=95 2> /dev/null; {end}") == "6"
