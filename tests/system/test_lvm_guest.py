"""The `lvm_thin` driver on a real LVM: the contract's tests, kills, and power cuts, in guests."""

import asyncio
import re
from pathlib import Path

import pytest

from guest_images import MiniImages, mini_images
from system.lvm_guest import HERE, LvmGuest, build_cargo, build_root

__all__ = ["mini_images"]

pytestmark = [pytest.mark.guest, pytest.mark.slow]

TESTS = (
    "drivers/conftest.py",
    "drivers/filesystems.py",
    "drivers/test_storage.py",
    "system/lvm_guest_commits.py",
    "system/lvm_guest_facts.py",
    "unit/storage/kills.py",
    "unit/storage/test_lvm_crashes.py",
    "unit/storage/test_lvm_model.py",
)
CONTRACT = "drivers/test_storage.py"
FACTS, KILLS = "system/lvm_guest_facts.py", "unit/storage/test_lvm_crashes.py"
CUTS = 2


@pytest.fixture
def guests(tmp_path: Path, mini_images: MiniImages) -> list[LvmGuest]:
    """Two guests that may run at a time: an emulated processor takes one of the host's."""
    cargo = tmp_path / "cargo.img"
    build_cargo(cargo, HERE / "lvm_guest_init.sh", TESTS)
    made = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        build_root(folder / "root.img")
        made.append(
            LvmGuest(folder=folder, images=mini_images, root=folder / "root.img", cargo=cargo)
        )
    return made


async def test_the_contract_holds_on_a_real_lvm(guests: list[LvmGuest]) -> None:
    lines = (f"tests 0/2 {CONTRACT} {KILLS}", f"tests 1/2 {CONTRACT} {FACTS}")
    said = await asyncio.gather(
        *(guest.run(line, timeout_s=600) for guest, line in zip(guests, lines, strict=True))
    )
    for words in said:
        print(words)
        found = re.search(r"(\d+) passed", words)
        assert found is not None
        assert int(found[1]) > 20


async def test_a_power_cut_loses_no_commit_on_a_real_lvm(guests: list[LvmGuest]) -> None:
    await guests[0].cut_power(CUTS)
