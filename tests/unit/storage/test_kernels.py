from pathlib import Path

import pytest

from qubeward.errors import StorageError
from qubeward.storage.driver import VolumeSpec
from qubeward.storage.kernels import (
    KernelDriver,
    find_kernel,
    has_vmlinuz,
    is_kernel_version,
    load_kernel_versions,
)


def spec(version: str) -> VolumeSpec:
    return VolumeSpec(vid=version, size_bytes=7, rw=False)


def changes(where: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in where.rglob("*")}


@pytest.fixture
def kernels(tmp_path: Path) -> Path:
    for name in (
        "6.1.0/vmlinuz", "6.1.0/initramfs", "6.1.0/modules.img", "6.10.0-1.fc37/vmlinuz",
        "6.9.2/modules.img", ".old/vmlinuz", "empty/readme",
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"content of a file")
    return tmp_path


async def test_the_image_is_shared_and_read_only(kernels: Path) -> None:
    driver = KernelDriver(kernels)
    await driver.setup()
    assert driver.capabilities.read_only
    image = await driver.start(spec("6.1.0"))
    assert (image.path, image.read_only) == (kernels / "6.1.0" / "modules.img", True)
    assert await driver.size_bytes(spec("6.1.0")) == 17
    assert await driver.usage_bytes("6.1.0") > 0
    assert await driver.usage() is None


async def test_nothing_is_ever_written_or_removed(kernels: Path) -> None:
    driver = KernelDriver(kernels)
    before = changes(kernels)
    for _ in range(2):
        await driver.create(spec("6.1.0"))
        await driver.stop(spec("6.1.0"))
        await driver.remove("6.1.0")
        await driver.import_end(spec("6.1.0"), success=False)
    with pytest.raises(StorageError, match="read-only"):
        await driver.import_begin(spec("6.1.0"), 1)
    with pytest.raises(StorageError, match="read-only"):
        await driver.import_end(spec("6.1.0"), success=True)
    assert changes(kernels) == before


async def test_a_version_without_modules_does_not_start(kernels: Path) -> None:
    driver = KernelDriver(kernels)
    with pytest.raises(StorageError, match=r"no modules\.img"):
        await driver.start(spec("6.10.0-1.fc37"))
    assert await driver.size_bytes(spec("none")) == 7
    assert await driver.usage_bytes("none") == 0


@pytest.mark.parametrize("version", ["", "..", ".", "a/b", "/etc", "x\0", "-v", "v" * 129, "a\n"])
async def test_a_version_leads_nowhere_else(kernels: Path, version: str) -> None:
    assert not is_kernel_version(version)
    assert not has_vmlinuz(kernels, version)
    with pytest.raises(StorageError, match="not a version"):
        await KernelDriver(kernels).start(spec(version))


async def test_versions_are_listed_by_their_numbers(kernels: Path) -> None:
    assert load_kernel_versions(kernels) == ("6.1.0", "6.9.2", "6.10.0-1.fc37")
    assert await KernelDriver(kernels).vids() == ("6.1.0", "6.9.2", "6.10.0-1.fc37")
    assert load_kernel_versions(kernels / "none") == ()


def test_a_kernel_has_vmlinuz_and_what_else_there_is(kernels: Path) -> None:
    assert has_vmlinuz(kernels, "6.1.0")
    assert not has_vmlinuz(kernels, "6.9.2")
    assert find_kernel(kernels, "6.9.2") is None
    full, bare = find_kernel(kernels, "6.1.0"), find_kernel(kernels, "6.10.0-1.fc37")
    assert full is not None
    assert bare is not None
    assert (full.initramfs, full.modules) == (
        kernels / "6.1.0" / "initramfs", kernels / "6.1.0" / "modules.img",
    )  # fmt: skip
    assert (bare.initramfs, bare.modules) == (None, None)
