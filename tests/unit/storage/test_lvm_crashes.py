"""Kills before any change by a command of LVM's, and what becomes of the volumes.

On the small LVM of `test_lvm_model.py`; inside a guest that has a real one, on that: the
environment names it, `QUBEWARD_TEST_LVM=VG/POOL`, as for the contract's tests.
"""

import os
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from qubeward.host.process import run
from qubeward.storage.lvm import LvmDriver
from unit.storage import kills
from unit.storage.kills import Attempt, Work, name_of
from unit.storage.test_lvm_model import GROUP, POOL, LvmModel

REAL = os.environ.get("QUBEWARD_TEST_LVM")
#: Real commands take their time.
WORK = [(kills.run_guest, 1), (kills.import_, 0), (kills.revert, 1)] if REAL else kills.WORK
only_modelled = pytest.mark.skipif(REAL is not None, reason="the model is enough")


@dataclass
class LvmLab(kills.Lab):
    """A thin pool, of the model or real."""

    group: str = GROUP
    pool: str = POOL
    devices: Path = Path("/dev")
    #: Whose power is cut when the daemon is killed; None: nobody's.
    cut: LvmModel | None = None

    def before_kill(self, argv: Sequence[str]) -> None:
        if self.cut is not None:
            self.cut.cut_power(argv)

    def is_scan(self, argv: Sequence[str]) -> bool:
        return argv[0] == "lvs"

    def make(self) -> LvmDriver:
        return LvmDriver(self.group, self.pool, run=self.run, devices=self.devices)

    def left(self) -> set[str]:
        names = self.make()._volumes._pool.scan("test").lvs
        return {name for name in names if name.endswith(("-snap", "-import", "-new", "-old"))}


@pytest.fixture(params=["kill"] if REAL else ["kill", "power cut"])
async def lab(request: Any, tmp_path: Path) -> AsyncIterator[LvmLab]:
    if REAL:
        made = LvmLab(run, None, [], *REAL.split("/"))
    else:
        model = LvmModel(tmp_path)
        cut = model if request.param == "power cut" else None
        made = LvmLab(model.run, devices=model.devices, cut=cut)
    yield made
    await made.clear()
    assert made.left() == set()


@pytest.mark.slow
@pytest.mark.parametrize(("work", "revisions_to_keep"), WORK, ids=name_of)
async def test_a_kill_leaves_old_or_new_whole_and_loses_nothing(
    lab: LvmLab, work: Work, revisions_to_keep: int | None
) -> None:
    await kills.try_kills(lab, work, revisions_to_keep)


@only_modelled
@pytest.mark.parametrize("work", [kills.start, kills.run_guest, kills.start_over_leftover])
@pytest.mark.parametrize("source", [True, False])
async def test_a_kill_leaves_nothing_of_what_is_not_saved(
    lab: LvmLab, work: Work, source: bool
) -> None:
    more = {"source": lab.root.vid, "snap_on_start": True} if source else {}
    await kills.try_kills_of_unsaved(lab, work, lab.spec("work", "root", **more))


@only_modelled
@pytest.mark.parametrize("verb", ["create", "remove"])
async def test_a_kill_in_create_or_remove_is_undone_by_remove(lab: LvmLab, verb: str) -> None:
    await kills.try_kills_of_a_life(lab, verb)


@only_modelled
@pytest.mark.parametrize("work", [kills.run_guest, kills.import_])
async def test_a_snapshot_of_what_was_cut_off_is_of_one_content(lab: LvmLab, work: Work) -> None:
    await kills.try_kills_under_a_snapshot(lab, work)


@only_modelled
@pytest.mark.parametrize("work", [kills.run_guest, kills.import_])
async def test_data_is_synced_before_the_committed_name_moves(
    lab: LvmLab, monkeypatch: pytest.MonkeyPatch, work: Work
) -> None:
    await lab.open().create(lab.private())
    written, synced = note_syncs(lab, monkeypatch)
    await work(Attempt(lab.open(), lab.private(), lab.root, b"new 0000"))
    first = next(i for i, line in enumerate(lab.changes) if line.startswith("lvrename"))
    assert any(path in written and after <= first for path, after in synced)


def note_syncs(
    lab: kills.Lab, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[Path], list[tuple[Path, int]]]:
    """Note what is written to, and what is synced after how many changes."""
    written: list[Path] = []
    synced: list[tuple[Path, int]] = []
    fsync: Callable[[int], None] = os.fsync
    write = kills.write

    def noting_fsync(fd: int) -> None:
        fsync(fd)
        synced.append((Path(f"/proc/self/fd/{fd}").readlink(), len(lab.changes)))

    def noting_write(path: Path, data: bytes) -> None:
        write(path, data)
        written.append(path.resolve())

    monkeypatch.setattr(os, "fsync", noting_fsync)
    monkeypatch.setattr(kills, "write", noting_write)
    return written, synced
