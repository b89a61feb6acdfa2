"""Kills before any change by a command of ZFS's, and what becomes of the volumes.

On the small ZFS of `test_zfs_model.py`; inside a guest that has a real one, on that: the
environment names it, `QUBEWARD_TEST_ZFS=CONTAINER`, as for the contract's tests.
"""

import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from qubeward.host.process import run
from qubeward.storage.zfs import ZfsDriver
from qubeward.storage.zfs_device import await_name
from qubeward.storage.zfs_volumes import AwaitDevice
from unit.storage import kills
from unit.storage.kills import Attempt, Work, name_of
from unit.storage.test_lvm_crashes import note_syncs
from unit.storage.test_zfs_model import CONTAINER, ZfsModel

REAL = os.environ.get("QUBEWARD_TEST_ZFS")
#: Real commands take their time.
WORK = [(kills.run_guest, 1), (kills.import_, 1), (kills.revert, 3)] if REAL else kills.WORK
only_modelled = pytest.mark.skipif(REAL is not None, reason="the model is enough")


@dataclass
class ZfsLab(kills.Lab):
    """A container, of the model or real."""

    container: str = CONTAINER
    devices: Path = Path("/dev/zvol")
    await_device: AwaitDevice = await_name

    def is_scan(self, argv: Sequence[str]) -> bool:
        return argv[1] == "list"

    def make(self) -> ZfsDriver:
        return ZfsDriver(
            self.container, run=self.run, devices=self.devices, await_device=self.await_device
        )

    def left(self) -> set[str]:
        zfs = self.make()._volumes._zfs
        left = {
            name for name in zfs.names() if name.endswith(("-work", "-import", "-new", "-export"))
        }
        for name in {name.rpartition("/")[0] for name in zfs.names()}:
            found = zfs.scan("test", name)
            left |= {
                dataset
                for dataset, one in found.all.items()
                if dataset.endswith("-past") and not any(kept.state for kept in one.snapshots)
            }
            left |= {
                kept.place
                for one in found.all.values()
                for kept in one.snapshots
                if kept.name.endswith(("-run", "-kept")) and not kept.is_doomed
            }
        return left


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[ZfsLab]:
    if REAL:
        made = ZfsLab(run, None, [], REAL)
    else:
        model = ZfsModel(tmp_path)
        made = ZfsLab(model.run, devices=model.devices, await_device=model.await_device)
    yield made
    await made.clear()
    assert made.make()._volumes._zfs.names() == []
    if not REAL:
        assert model.names() == set()
        assert model.file_systems == {"tank", CONTAINER}


@pytest.mark.slow
@pytest.mark.parametrize(("work", "revisions_to_keep"), WORK, ids=name_of)
async def test_a_kill_leaves_old_or_new_whole_and_loses_nothing(
    lab: ZfsLab, work: Work, revisions_to_keep: int | None
) -> None:
    await kills.try_kills(lab, work, revisions_to_keep)


@only_modelled
@pytest.mark.parametrize("work", [kills.start, kills.run_guest, kills.start_over_leftover])
@pytest.mark.parametrize("source", [True, False])
async def test_a_kill_leaves_nothing_of_what_is_not_saved(
    lab: ZfsLab, work: Work, source: bool
) -> None:
    more = {"source": lab.root.vid, "snap_on_start": True} if source else {}
    await kills.try_kills_of_unsaved(lab, work, lab.spec("work", "root", **more))


@only_modelled
@pytest.mark.parametrize("verb", ["create", "remove"])
async def test_a_kill_in_create_or_remove_is_undone_by_remove(lab: ZfsLab, verb: str) -> None:
    await kills.try_kills_of_a_life(lab, verb)


@only_modelled
@pytest.mark.parametrize("work", [kills.run_guest, kills.import_])
async def test_a_snapshot_of_what_was_cut_off_is_of_one_content(lab: ZfsLab, work: Work) -> None:
    await kills.try_kills_under_a_snapshot(lab, work)


async def test_a_kill_in_the_removal_of_a_source_harms_no_clone(lab: ZfsLab) -> None:
    """Clones are promoted, one after another, before what they were cloned from can go."""
    sources = [lab.spec(f"q{i}", "private", save_on_stop=True) for i in range(4)]
    number, finished = 0, False
    while not finished:
        driver = lab.open()
        await driver.create(sources[0])
        await kills.commit(driver, sources[0], b"same 000")
        for source, target in ((0, 1), (0, 2), (1, 3)):
            await driver.create(sources[target])
            await driver.clone(sources[target], sources[source])
            await driver.import_end(sources[target], success=True)
            await kills.commit(driver, sources[source], b"other %02d" % target)
        driver = lab.open(number)
        try:
            for one in sources[:2]:
                await driver.remove(one.vid)
            finished = True
        except kills.KilledError:
            pass
        driver = lab.open()
        assert await kills.read_committed(driver, sources[2]) == b"other 01"
        assert await kills.read_committed(driver, sources[3]) == b"same 000"
        for one in (0, 1, 3, 2):
            await driver.remove(sources[one].vid)
        assert list(await driver.vids()) == []
        number += 1
    assert number > 4


@only_modelled
@pytest.mark.parametrize(
    ("work", "is_both", "switch"),
    [
        (kills.run_guest, False, "zfs destroy -d"),
        (kills.run_guest, True, "zfs rename"),
        (kills.import_, False, "zfs rename"),
    ],
)
async def test_data_is_synced_before_it_is_what_is_committed(
    lab: ZfsLab, monkeypatch: pytest.MonkeyPatch, work: Work, is_both: bool, switch: str
) -> None:
    for volume in (lab.root, lab.private()):
        await lab.open().create(volume)
    volume = lab.both() if is_both else lab.private()
    written, synced = note_syncs(lab, monkeypatch)
    await work(Attempt(lab.open(), volume, lab.root, b"new 0000"))
    first = next(i for i, line in enumerate(lab.changes) if line.startswith(switch))
    assert any(path in written and after <= first for path, after in synced)
