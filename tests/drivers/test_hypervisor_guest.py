"""A real guest under libvirt: it boots, speaks on its console, and obeys its power button."""

import asyncio
import shutil
from pathlib import Path

import pytest

from drivers.hypervisors import World
from guest_images import MiniImages, mini_images  # noqa: F401  # a fixture
from qubeward.hypervisor.driver import DirectKernel, Disk, DomainSpec

pytestmark = pytest.mark.guest


def mini_spec(world: World, images: MiniImages, name: str) -> DomainSpec:
    for file in (images.vmlinuz, images.initramfs, images.modules, images.root):
        shutil.copy(file, world.folder / file.name)
    disk = {file.name: str(world.folder / file.name) for file in (images.root, images.modules)}
    return world.spec(
        name,
        memory_mib=96,
        max_memory_mib=128,
        disks=(
            Disk(serial="root", path=disk[images.root.name]),
            Disk(serial="modules", path=disk[images.modules.name], read_only=True),
        ),
        kernel=DirectKernel(
            vmlinuz=str(world.folder / "vmlinuz"),
            initramfs=str(world.folder / "initramfs"),
            options=f"console=ttyS0 quiet qubeward.name={name}",
        ),
        console_log=str(world.folder / f"{name}.log"),
    )


async def until_written(log: Path, text: str, timeout_s: float = 60) -> None:
    async with asyncio.timeout(timeout_s):
        # a file tells nobody that it grew
        while text not in log.read_text(errors="replace"):  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(0.1)


async def test_a_guest_boots_and_obeys_its_power_button(
    libvirt_world: World,
    mini_images: MiniImages,  # noqa: F811
) -> None:
    spec = mini_spec(libvirt_world, mini_images, "mini")
    await libvirt_world.hypervisor.create(spec)
    await libvirt_world.hypervisor.unpause(spec.uuid)
    log = Path(str(spec.console_log))
    await until_written(log, "qube mini is up")
    # who listens to the button comes up a moment later
    await until_written(log, "# ")
    await asyncio.sleep(1)
    await libvirt_world.hypervisor.request_shutdown(spec.uuid)
    assert await libvirt_world.until(spec.uuid, None, timeout_s=30) == "shutdown"
