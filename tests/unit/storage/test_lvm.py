"""The `lvm_thin` driver: which commands it issues, and what it makes of what LVM says."""

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qubeward.errors import BadValueError, StorageError
from qubeward.host.process import Completed, ProgramError
from qubeward.storage import lvm_commits, lvm_volumes
from qubeward.storage.driver import VolumeSpec
from qubeward.storage.lvm import LvmDriver, open_lvm
from qubeward.storage.lvm_commands import ThinPool
from qubeward.storage.lvm_names import VolumeLvs, find_vid, parse_vid
from qubeward.storage.lvm_volumes import LvmVolumes
from unit.storage.test_lvm_model import EXTENT, GROUP, MIB, POOL, LvmModel, RefusedError, lvm

__all__ = ["lvm"]

ROOT = VolumeSpec(vid="vg/vm-debian-root", size_bytes=8 * MIB, save_on_stop=True)
PRIVATE = VolumeSpec(vid="vg/vm-my-work-private", size_bytes=8 * MIB, save_on_stop=True)
KEPT = replace(PRIVATE, revisions_to_keep=1)
BARE = replace(PRIVATE, revisions_to_keep=-1)
SNAPSHOT = VolumeSpec(
    vid="vg/vm-my-work-root", size_bytes=8 * MIB, source=ROOT.vid, snap_on_start=True
)
VOLATILE = VolumeSpec(vid="vg/vm-my-work-volatile", size_bytes=4 * MIB)

COPY = "lvcreate --snapshot --setactivationskip n --activate y --name"
MAKE = "lvcreate --yes --type thin --thinpool pool --virtualsize"


@pytest.fixture
def driver(lvm: LvmModel, monkeypatch: pytest.MonkeyPatch) -> LvmDriver:
    monkeypatch.setattr(lvm_commits.time, "time", lambda: 1700000000.5)
    return LvmDriver(GROUP, POOL, run=lvm.run, devices=lvm.devices)


def write(path: Path, data: bytes) -> None:
    with path.open("r+b") as file:
        file.write(data)


def read(lvm: LvmModel, name: str, count: int) -> bytes:
    return (lvm.devices / GROUP / name).read_bytes()[:count]


# Command lines.


async def test_each_call_scans_once(lvm: LvmModel, driver: LvmDriver) -> None:
    await driver.create(ROOT)
    await driver.create(KEPT)
    for call in (
        driver.start(KEPT), driver.is_outdated(SNAPSHOT), driver.size_bytes(KEPT),
        driver.usage_bytes(KEPT.vid), driver.revisions(KEPT.vid), driver.stop(KEPT),
        driver.start(SNAPSHOT), driver.stop(SNAPSHOT), driver.vids(), driver.export_begin(KEPT),
        driver.import_begin(KEPT, MIB), driver.import_end(KEPT, success=True),
        driver.clone(KEPT, ROOT), driver.remove(KEPT.vid), driver.usage(),
    ):  # fmt: skip
        lvm.seen.clear()
        await call
        assert len([line for line in lvm.seen if line.startswith("lvs ")]) == 1, lvm.seen


async def test_the_commands_of_a_saved_volume(lvm: LvmModel, driver: LvmDriver) -> None:
    await driver.create(PRIVATE)
    assert lvm.changes() == [f"{MAKE} 8388608b --name vm-my-work-private vg"]
    image = await driver.start(PRIVATE)
    assert image.path == lvm.devices / "vg/vm-my-work-private-snap"
    assert (image.format, image.read_only, image.key) == ("raw", False, None)
    assert lvm.changes() == [f"{COPY} vm-my-work-private-snap vg/vm-my-work-private"]
    await driver.stop(PRIVATE)
    assert lvm.changes() == [
        "lvrename vg vm-my-work-private vm-my-work-private-1700000000-old",
        "lvrename vg vm-my-work-private-snap vm-my-work-private",
        "lvremove --yes vg/vm-my-work-private-1700000000-old",
    ]
    await driver.stop(PRIVATE)
    assert lvm.changes() == []
    await driver.start(replace(PRIVATE, size_bytes=9 * MIB + 1))
    assert lvm.changes()[1:] == ["lvextend --size 9437696b vg/vm-my-work-private-snap"]


async def test_the_commands_of_revisions(lvm: LvmModel, driver: LvmDriver) -> None:
    await driver.create(KEPT)
    for second in (1700000000, 1700000001):
        await driver.start(KEPT)
        lvm.changes()
        await driver.stop(KEPT)
        assert (
            lvm.changes()[0] == f"lvrename vg vm-my-work-private vm-my-work-private-{second}-back"
        )
    assert [one.id for one in await driver.revisions(KEPT.vid)] == ["1700000001-back"]
    revision = await driver.snapshot(KEPT)
    assert (revision.id, revision.time_s) == ("1700000002-back", 1700000002.0)
    assert lvm.changes() == [f"{COPY} vm-my-work-private-1700000002-back vg/vm-my-work-private"]
    await driver.revert(KEPT, "1700000001-back")
    assert lvm.changes() == [
        f"{COPY} vm-my-work-private-new vg/vm-my-work-private-1700000001-back",
        "lvrename vg vm-my-work-private vm-my-work-private-1700000003-old",
        "lvrename vg vm-my-work-private-new vm-my-work-private",
        "lvremove --yes vg/vm-my-work-private-1700000001-back vg/vm-my-work-private-1700000003-old",
    ]


async def test_the_commands_of_an_import(lvm: LvmModel, driver: LvmDriver) -> None:
    await driver.create(ROOT)
    await driver.create(PRIVATE)
    lvm.changes()
    path = await driver.import_begin(PRIVATE, 6 * MIB)
    assert path == lvm.devices / "vg/vm-my-work-private-import"
    assert lvm.changes() == [f"{MAKE} 6291456b --name vm-my-work-private-import vg"]
    await driver.clone(PRIVATE, ROOT)
    assert lvm.changes() == [
        "lvremove --yes vg/vm-my-work-private-import",
        f"{COPY} vm-my-work-private-import vg/vm-debian-root",
    ]
    await driver.import_end(PRIVATE, success=True)
    assert lvm.changes() == [
        "lvrename vg vm-my-work-private-import vm-my-work-private-new",
        "lvrename vg vm-my-work-private vm-my-work-private-1700000000-old",
        "lvrename vg vm-my-work-private-new vm-my-work-private",
        "lvremove --yes vg/vm-my-work-private-1700000000-old",
    ]
    await driver.import_end(PRIVATE, success=False)
    assert lvm.changes() == []


async def test_the_commands_of_what_is_not_saved(lvm: LvmModel, driver: LvmDriver) -> None:
    await driver.create(ROOT)
    lvm.changes()
    for volume, made in (
        (SNAPSHOT, f"{COPY} vm-my-work-root-snap vg/vm-debian-root"),
        (VOLATILE, f"{MAKE} 4194304b --name vm-my-work-volatile-snap vg"),
    ):
        remove = f"lvremove --yes {volume.vid}-snap"
        await driver.create(volume)
        await driver.start(volume)
        assert lvm.changes() == [made]
        await driver.start(volume)
        assert lvm.changes() == [remove, made]
        await driver.stop(volume)
        assert lvm.changes() == [remove]


async def test_the_commands_of_a_resize(lvm: LvmModel, driver: LvmDriver) -> None:
    await driver.create(PRIVATE)
    lvm.changes()
    await driver.resize(PRIVATE, 12 * MIB, running=False)
    assert lvm.changes() == ["lvextend --size 12582912b vg/vm-my-work-private"]
    await driver.resize(PRIVATE, 12 * MIB, running=False)
    assert lvm.changes() == []
    await driver.start(PRIVATE)
    lvm.changes()
    await driver.resize(PRIVATE, 16 * MIB, running=True)
    assert lvm.changes() == ["lvextend --size 16777216b vg/vm-my-work-private-snap"]
    await driver.resize(VOLATILE, 16 * MIB, running=False)
    assert lvm.changes() == []
    await driver.stop(PRIVATE)
    await driver.start(BARE)
    lvm.changes()
    await driver.resize(BARE, 20 * MIB, running=True)
    assert lvm.changes() == ["lvextend --size 20971520b vg/vm-my-work-private"]


async def test_an_ephemeral_volume_has_room_for_its_header(
    lvm: LvmModel, driver: LvmDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    monkeypatch.setattr(lvm_volumes, "make_luks", lambda *call: made.append(call) or "key")
    ephemeral = replace(VOLATILE, ephemeral=True)
    image = await driver.start(ephemeral)
    room_bytes = lvm_volumes.overhead_bytes()
    assert lvm.changes() == [f"{MAKE} {4 * MIB + room_bytes}b --name vm-my-work-volatile-snap vg"]
    assert (image.format, image.key) == ("luks", "key")
    assert made == [(image.path, 4 * MIB)]
    assert await driver.size_bytes(ephemeral) == 4 * MIB
    await driver.resize(ephemeral, 16 * MIB, running=True)
    assert lvm.changes() == [
        f"lvextend --size {16 * MIB + room_bytes}b vg/vm-my-work-volatile-snap"
    ]


# What is inactive after a boot.


async def test_what_is_not_active_is_activated_when_it_is_needed(
    lvm: LvmModel, driver: LvmDriver
) -> None:
    await driver.create(PRIVATE)
    write((await driver.start(PRIVATE)).path, b"kept")
    lvm.reboot()
    lvm.changes()
    path = await driver.export_begin(PRIVATE)
    assert lvm.changes() == ["lvchange --activate y --ignoreactivationskip vg/vm-my-work-private"]
    assert path.read_bytes()[:4] == bytes(4)
    await driver.stop(PRIVATE)
    lvm.reboot()
    for volume in (BARE, replace(PRIVATE, rw=False)):
        lvm.changes()
        image = await driver.start(volume)
        assert image.path == driver.path(volume) == lvm.devices / PRIVATE.vid
        assert image.read_only is not volume.rw
        assert image.path.read_bytes()[:4] == b"kept"
        assert lvm.changes() == (
            ["lvchange --activate y --ignoreactivationskip vg/vm-my-work-private"]
            if volume is BARE
            else []
        )
    assert driver.path(PRIVATE) == lvm.devices / "vg/vm-my-work-private-snap"


@pytest.mark.parametrize("data", [b"", b"secret"])
async def test_a_new_volume_is_looked_into_before_it_is_taken(
    lvm: LvmModel, driver: LvmDriver, data: bytes
) -> None:
    await driver.create(PRIVATE)
    if data:
        write(lvm.devices / PRIVATE.vid, data)
    lvm.reboot()
    if data:
        with pytest.raises(StorageError, match="a volume with data"):
            await driver.create(PRIVATE)
    else:
        await driver.create(replace(PRIVATE, size_bytes=16 * MIB))
        assert await driver.size_bytes(PRIVATE) == 16 * MIB


@pytest.mark.parametrize("left", ["snap", "import", "new", "1600000000-back", "1600000000-old"])
async def test_what_is_left_of_an_older_volume_keeps_a_new_one_away(
    lvm: LvmModel, driver: LvmDriver, left: str
) -> None:
    lvm.run([*MAKE.split(), f"{MIB}b", "--name", f"vm-my-work-private-{left}", "vg"],
            timeout_s=1, env={"LC_ALL": "C"}, check=False)  # fmt: skip
    with pytest.raises(StorageError, match=f"vm-my-work-private-{left} of an older volume"):
        await driver.create(PRIVATE)
    assert await driver.vids() == [PRIVATE.vid]
    await driver.remove(PRIVATE.vid)
    assert lvm.lvs == {}


# What somebody has open.


async def test_an_export_goes_on_while_its_volume_is_committed(
    lvm: LvmModel, driver: LvmDriver
) -> None:
    await driver.create(PRIVATE)
    write((await driver.start(PRIVATE)).path, b"one")
    await driver.stop(PRIVATE)
    with (await driver.export_begin(PRIVATE)).open("rb") as exported:
        lvm.changes()
        for data in (b"two", b"six"):
            write((await driver.start(PRIVATE)).path, data)
            await driver.stop(PRIVATE)
        assert exported.read(3) == b"one"
        removed = [line for line in lvm.seen if line.startswith("lvremove")]
        assert removed == ["lvremove --yes vg/vm-my-work-private-1700000001-old"], "LVM would wait"
        with pytest.raises(StorageError, match="no revision 1700000000-back"):
            await driver.revert(PRIVATE, "1700000000-back")
        assert set(lvm.lvs) == {"vm-my-work-private", "vm-my-work-private-1700000000-old"}
        await driver.tidy(PRIVATE)
        assert len(lvm.lvs) == 2
        assert await driver.revisions(PRIVATE.vid) == []
    await driver.tidy(PRIVATE)
    assert set(lvm.lvs) == {"vm-my-work-private"}
    assert read(lvm, "vm-my-work-private", 3) == b"six"


async def test_a_volume_in_use_is_not_removed_and_says_so(lvm: LvmModel, driver: LvmDriver) -> None:
    await driver.create(PRIVATE)
    with (
        (await driver.export_begin(PRIVATE)).open("rb"),
        pytest.raises(StorageError, match="Logical volume vg/vm-my-work-private in use"),
    ):
        await driver.remove(PRIVATE.vid)


# What a guest wrote to the volume itself.


async def test_a_copy_made_before_a_guest_wrote_in_place_is_no_copy_any_more(
    lvm: LvmModel, driver: LvmDriver
) -> None:
    await driver.create(PRIVATE)
    one = await driver.snapshot(PRIVATE)
    lvm.changes()
    write((await driver.start(BARE)).path, b"one")
    assert lvm.changes() == [
        "lvchange --addtag qubeward.differs-from-origin vg/vm-my-work-private-1700000000-back"
    ]
    two = await driver.snapshot(PRIVATE)
    write(lvm.devices / PRIVATE.vid, b"and")
    await driver.stop(BARE)
    many = replace(PRIVATE, revisions_to_keep=9)
    write((await driver.start(many)).path, b"two")
    await driver.stop(many)
    kept = [revision.id for revision in await driver.revisions(PRIVATE.vid)]
    assert kept == [one.id, two.id, "1700000002-back"]
    assert read(lvm, "vm-my-work-private-1700000002-back", 3) == b"and"


async def test_a_copy_of_what_was_committed_is_no_copy_of_what_is_now(
    lvm: LvmModel, driver: LvmDriver
) -> None:
    many = replace(PRIVATE, revisions_to_keep=9)
    await driver.create(many)
    one = await driver.snapshot(many)
    write((await driver.start(many)).path, b"left by a crash")
    await driver.revert(many, one.id)
    kept = [revision.id for revision in await driver.revisions(many.vid)]
    assert kept == [one.id, "1700000001-back"]
    assert read(lvm, f"vm-my-work-private-{kept[1]}", 4) == b"left"


# Commits of other threads.


async def test_an_export_waits_for_a_commit_that_is_between_its_renames(
    lvm: LvmModel, driver: LvmDriver
) -> None:
    await driver.create(ROOT)
    write((await driver.start(ROOT)).path, b"new")
    has_no_name, has_scanned = threading.Event(), threading.Event()
    mine = threading.get_ident()

    def run(argv: Sequence[str], **more: Any) -> Completed:
        if threading.get_ident() == mine:  # the export's
            assert has_no_name.wait(10)
            done = lvm.run(argv, **more)
            has_scanned.set()
            return done
        done = lvm.run(argv, **more)
        if argv[-1].endswith("-old"):
            has_no_name.set()
            assert has_scanned.wait(10)
        return done

    volumes = LvmVolumes(ThinPool(GROUP, POOL, run), lvm.devices)
    with ThreadPoolExecutor() as threads:
        stopped = threads.submit(volumes.stop, ROOT)
        path = volumes.export(ROOT)
        stopped.result(10)
    assert path.read_bytes()[:3] == b"new"


@pytest.mark.parametrize("scanned_before", [False, True])
async def test_a_copy_waits_for_a_commit_that_is_between_its_renames(
    lvm: LvmModel, driver: LvmDriver, scanned_before: bool
) -> None:
    await driver.create(ROOT)
    write((await driver.start(ROOT)).path, b"new")
    has_no_name, was_refused = threading.Event(), threading.Event()
    mine = threading.get_ident()

    def run(argv: Sequence[str], **more: Any) -> Completed:
        if threading.get_ident() == mine:  # the snapshot's
            if argv[0] != "lvs" or not scanned_before:
                assert has_no_name.wait(10)
            done = lvm.run(argv, **more)
            if done.returncode or not scanned_before:
                was_refused.set()
            return done
        done = lvm.run(argv, **more)
        if argv[-1].endswith("-old"):
            has_no_name.set()
            assert was_refused.wait(10)
        return done

    volumes = LvmVolumes(ThinPool(GROUP, POOL, run), lvm.devices)
    with ThreadPoolExecutor() as threads:
        stopped = threads.submit(volumes.stop, ROOT)
        image = volumes.start(SNAPSHOT)
        stopped.result(10)
    assert image.path.read_bytes()[:3] == b"new"
    assert not volumes.is_outdated(SNAPSHOT)


# What LVM says.


async def test_a_pool_that_is_not_there_is_named(lvm: LvmModel) -> None:
    driver = LvmDriver("nogroup", POOL, run=lvm.run, devices=lvm.devices)
    with pytest.raises(StorageError, match='lvs: Volume group "nogroup/pool" not found'):
        await driver.open()


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [("segtype", "thin", "no thin pool"), ("zero", "", "does not zero new blocks")],
)
async def test_a_pool_that_is_unfit_is_refused(
    lvm: LvmModel, driver: LvmDriver, field: str, value: str, why: str
) -> None:
    await driver.setup()
    lvm.pool_row[field] = value
    for call in (driver.setup, driver.open):
        with pytest.raises(StorageError, match=f"thin pool vg/pool: .*{why}"):
            await call()


async def test_the_usage_is_of_data_and_of_metadata(driver: LvmDriver) -> None:
    usage = await driver.usage()
    assert usage is not None
    assert (usage.size_bytes, usage.usage_bytes) == (1 << 30, 132499742)
    assert (usage.metadata_size_bytes, usage.metadata_usage_bytes) == (1 << 24, 83887)


async def test_without_lvm_on_the_host_it_is_said(lvm: LvmModel) -> None:
    def missing(
        argv: Sequence[str], *, timeout_s: float, env: Mapping[str, str], check: bool
    ) -> Completed:
        raise ProgramError(argv, "No such file or directory")

    driver = LvmDriver(GROUP, POOL, run=missing, devices=lvm.devices)
    with pytest.raises(StorageError, match="the host's lvs can't be run: No such file"):
        await driver.open()


async def test_a_refusal_has_lvms_words_without_paths_and_warnings(lvm: LvmModel) -> None:
    def refusing(
        argv: Sequence[str], *, timeout_s: float, env: Mapping[str, str], check: bool
    ) -> Completed:
        said = b"  WARNING: no\n  /dev/vg/vm-a-root: open failed: No such device\n  vg/a: no.\n"
        return Completed(returncode=5, stdout=b"", stderr=said)

    driver = LvmDriver(GROUP, POOL, run=refusing, devices=lvm.devices)
    with pytest.raises(StorageError) as raised:
        await driver.vids()
    assert raised.value.fields[1] == "lvs: (path) open failed: No such device; vg/a: no."


async def test_a_device_that_never_comes_is_not_waited_for_for_ever(
    lvm: LvmModel, driver: LvmDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qubeward.storage.host_tools._DEVICE_TIMEOUT_S", 0.1)
    monkeypatch.setattr(lvm, "_link", lambda name: None)
    with pytest.raises(StorageError, match="its device did not appear"):
        await driver.start(VOLATILE)


async def test_other_logical_volumes_are_nobodys(lvm: LvmModel, driver: LvmDriver) -> None:
    await driver.create(PRIVATE)
    for name in ("swap", "vm-x", "vm-x-1root", "vm-x-snap", "xvm-x-root"):
        lvm.run([*MAKE.split(), f"{MIB}b", "--name", name, "vg"],
                timeout_s=1, env={"LC_ALL": "C"}, check=False)  # fmt: skip
    lvm.lvs["vm-x-root"] = replace(lvm.lvs["swap"], pool="other")
    assert await driver.vids() == [PRIVATE.vid]


async def test_sizes_are_whole_extents(driver: LvmDriver) -> None:
    await driver.create(replace(PRIVATE, size_bytes=EXTENT + 1))
    assert await driver.size_bytes(PRIVATE) == 2 * EXTENT


# Names.


@pytest.mark.parametrize(
    ("lv", "vid"),
    [
        ("vm-a-root", "vg/vm-a-root"),
        ("vm-a-root-snap", "vg/vm-a-root"),
        ("vm-a-snap-root", "vg/vm-a-snap-root"),
        ("vm-a-root-import-private", "vg/vm-a-root-import-private"),
        ("vm-a-1-back-root-2-back", "vg/vm-a-1-back-root"),
        ("vm-a-root-1700000000-back", "vg/vm-a-root"),
        ("vm-a-root-1700000000-old", "vg/vm-a-root"),
        ("vm-a-root-new", "vg/vm-a-root"),
        ("vm-a-snapshot", "vg/vm-a-snapshot"),
        ("vm-a-snap", None),
        ("vm-a-1-back", None),
        ("vm-a-root-0-back", None),
        ("vm-a-root-1700000000", None),
        ("vm--root", None),
        ("vm-a", None),
        ("root", None),
    ],
)
def test_names_parse_from_the_right(lv: str, vid: str | None) -> None:
    assert find_vid("vg", lv) == vid


@pytest.mark.parametrize(
    "vid",
    ["", "vg", "vg/", "vg/vm-a", "other/vm-a-root", "vg/vm-a-root-snap", "vg/vm-a-root-1-back",
     "vg/vm-a-snap", "vg/../vm-a-root", "vg/vm-a-root/x", "vg/vm-a-root\n", "vg/--yes", "/vm-a-root"],
)  # fmt: skip
async def test_a_vid_leads_nowhere_else(lvm: LvmModel, driver: LvmDriver, vid: str) -> None:
    volume = VolumeSpec(vid=vid, size_bytes=MIB, save_on_stop=True)
    for call in (
        driver.create(volume), driver.remove(vid), driver.start(volume), driver.stop(volume),
        driver.start(replace(SNAPSHOT, source=vid)), driver.import_begin(volume, 1),
        driver.usage_bytes(vid), driver.import_end(volume, success=True), driver.tidy(volume),
        driver.size_bytes(volume), driver.revisions(vid), driver.snapshot(volume),
        driver.revert(volume, "1"), driver.clone(volume, ROOT), driver.clone(PRIVATE, volume),
        driver.export_begin(volume), driver.resize(volume, MIB, running=False),
    ):  # fmt: skip
        with pytest.raises(StorageError, match="volume id"):
            await call
    assert lvm.changes() == []


def test_a_revision_of_another_volume_is_not_one_of_this() -> None:
    assert parse_vid("vg", "vg/vm-a-root") == VolumeLvs("vm-a-root")
    assert VolumeLvs("vm-a-root").parse_past("vm-a-root2-1-back") is None
    assert VolumeLvs("vm-a-root").parse_past("vm-a-root-x-1-back") is None


@pytest.mark.parametrize("option", ["volume_group", "thin_pool"])
@pytest.mark.parametrize(
    "text", ["", "-y", "--yes", "a b", "a/b", "..", ".", "a\n", "é", "a" * 128]
)
def test_a_name_of_lvms_can_be_no_option_and_no_path(option: str, text: str) -> None:
    options = {"volume_group": "vg-1.a", "thin_pool": "pool_00"}
    open_lvm(options)
    with pytest.raises(BadValueError, match=option):
        open_lvm({**options, option: text})


FLUSH = [
    f"{MAKE} 512b --name qubeward-pool vg",
    "lvremove --yes vg/qubeward-pool",
]


async def test_a_pool_keeps_nothing_of_what_opening_it_makes(
    lvm: LvmModel, driver: LvmDriver
) -> None:
    for call in (driver.setup, driver.open):
        await call()
        assert lvm.changes() == FLUSH
        assert lvm.lvs == {}
    lvm_run(lvm, FLUSH[0])
    lvm.changes()
    await driver.open()
    assert lvm.changes() == [FLUSH[0], FLUSH[1], *FLUSH], "a power cut left it"
    await driver.teardown()
    assert lvm.changes() == []
    assert driver.vid("my-work", "private", template=False) == PRIVATE.vid
    with pytest.raises(StorageError, match="keeps no records"):
        await driver.keep_record(PRIVATE.vid, b"record")
    assert await driver.records() == {}
    await driver.close()


async def test_a_pool_that_is_full_can_be_opened(
    lvm: LvmModel, driver: LvmDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(words: list[str]) -> str:
        raise RefusedError("Cannot create new thin volume, free space in thin pool vg/pool")

    monkeypatch.setitem(lvm._commands, "lvcreate", refuse)
    await driver.open()
    with pytest.raises(StorageError, match="free space"):
        await driver.create(PRIVATE)


# Power cuts in the middle of a command.


@pytest.mark.parametrize("opened", [True, False])
async def test_what_was_never_made_in_the_pool_is_not_committed_as_empty(
    lvm: LvmModel, driver: LvmDriver, opened: bool
) -> None:
    await driver.create(PRIVATE)
    write((await driver.start(PRIVATE)).path, b"old")
    await driver.stop(PRIVATE)
    lvm.cut_power(f"{COPY} vm-my-work-private-snap vg/vm-my-work-private".split())
    if opened:
        await driver.open()
    lvm.changes()
    await driver.stop(PRIVATE)
    activate = "lvchange --activate y --ignoreactivationskip vg/vm-my-work-private-snap"
    tried = [] if opened else [activate, *FLUSH]
    assert lvm.changes()[: len(tried) + 1] == [*tried, activate]
    assert (await driver.export_begin(PRIVATE)).read_bytes()[:3] == b"old"


async def test_a_revision_that_was_never_made_in_the_pool_stands_for_nothing(
    lvm: LvmModel, driver: LvmDriver
) -> None:
    many = replace(PRIVATE, revisions_to_keep=9)
    await driver.create(many)
    write((await driver.start(many)).path, b"old")
    await driver.stop(many)
    write((await driver.start(many)).path, b"new")
    lvm.cut_power(f"{COPY} vm-my-work-private-1700000005-back vg/vm-my-work-private".split())
    await driver.stop(many)
    assert read(lvm, "vm-my-work-private", 3) == b"new"
    kept = [one.id for one in await driver.revisions(many.vid)]
    assert kept == ["1700000000-back", "1700000005-back", "1700000006-back"]
    await driver.revert(many, kept[-1])
    assert read(lvm, "vm-my-work-private", 3) == b"old"


def lvm_run(lvm: LvmModel, line: str) -> None:
    done = lvm.run(line.split(), timeout_s=1, env={"LC_ALL": "C"}, check=False)
    assert done.returncode == 0
