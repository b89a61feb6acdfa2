"""The `zfs` driver: which commands it issues, and what it makes of what ZFS says."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from qubeward.errors import BadValueError, StorageError
from qubeward.host.process import Completed, ProgramError
from qubeward.storage import zfs_commands, zfs_commits, zfs_device, zfs_volumes
from qubeward.storage.driver import VolumeSpec
from qubeward.storage.zfs import ZfsDriver, open_zfs
from qubeward.storage.zfs_names import VolumeDatasets, find_vid, parse_vid
from unit.storage.test_zfs_model import CONTAINER, MAKE, ZfsModel, zfs

__all__ = ["zfs"]

MIB = 1 << 20
Q = CONTAINER
ROOT = VolumeSpec(vid=f"{Q}/debian/root", size_bytes=8 * MIB, save_on_stop=True)
PRIVATE = VolumeSpec(vid=f"{Q}/my-work/private", size_bytes=8 * MIB, save_on_stop=True)
KEPT = replace(PRIVATE, revisions_to_keep=1)
MANY = replace(PRIVATE, revisions_to_keep=9)
BARE = replace(PRIVATE, revisions_to_keep=-1)
SNAPSHOT = VolumeSpec(
    vid=f"{Q}/my-work/root", size_bytes=8 * MIB, source=ROOT.vid, snap_on_start=True
)
VOLATILE = VolumeSpec(vid=f"{Q}/my-work/volatile", size_bytes=4 * MIB)

CREATE, CLONE = "zfs create -s -o volmode=dev", "zfs clone -o volmode=dev"
QUBE = "zfs create -p -o canmount=off -o mountpoint=none"


def open_model(zfs: ZfsModel, *, forensics: bool = False) -> ZfsDriver:
    return ZfsDriver(
        Q, snap_on_start_forensics=forensics, run=zfs.run, devices=zfs.devices,
        await_device=zfs.await_device,
    )  # fmt: skip


@pytest.fixture
def driver(zfs: ZfsModel, monkeypatch: pytest.MonkeyPatch) -> ZfsDriver:
    monkeypatch.setattr(zfs_commits.time, "time", lambda: 1700000000.5)
    return open_model(zfs)


def write(path: Path, data: bytes) -> None:
    with path.open("r+b") as file:
        file.write(data)


async def commit(driver: ZfsDriver, volume: VolumeSpec, data: bytes) -> None:
    write((await driver.start(volume)).path, data)
    await driver.stop(volume)


# Command lines.


async def test_each_call_scans_once_for_each_qube(zfs: ZfsModel, driver: ZfsDriver) -> None:
    await driver.create(ROOT)
    await driver.create(KEPT)
    for call, scans in (
        (driver.start(KEPT), 1), (driver.size_bytes(KEPT), 1), (driver.usage_bytes(KEPT.vid), 1),
        (driver.revisions(KEPT.vid), 1), (driver.stop(KEPT), 1), (driver.start(SNAPSHOT), 2),
        (driver.is_outdated(SNAPSHOT), 2), (driver.stop(SNAPSHOT), 1), (driver.vids(), 1),
        (driver.import_begin(KEPT, MIB), 1), (driver.import_end(KEPT, success=True), 1),
        (driver.clone(KEPT, ROOT), 2), (driver.export_begin(KEPT), 1),
        (driver.export_end(KEPT), 1), (driver.usage(), 1),
    ):  # fmt: skip
        zfs.seen.clear()
        await call
        assert len([line for line in zfs.seen if line.startswith("zfs list ")]) == scans, zfs.seen


async def test_the_commands_of_a_saved_volume(zfs: ZfsModel, driver: ZfsDriver) -> None:
    await driver.create(PRIVATE)
    assert zfs.changes() == [
        f"{QUBE} {Q}/my-work",
        f"{CREATE} -o qubeward:empty=yes -V 8388608 {Q}/my-work/private",
    ]
    image = await driver.start(PRIVATE)
    assert image.path == driver.path(PRIVATE) == zfs.devices / f"{Q}/my-work/private"
    assert (image.format, image.read_only, image.key) == ("raw", False, None)
    assert zfs.changes() == [
        f"zfs inherit qubeward:empty {Q}/my-work/private",
        f"zfs snapshot {Q}/my-work/private@1700000000-run",
    ]
    await driver.stop(PRIVATE)
    assert zfs.changes() == [f"zfs destroy -d {Q}/my-work/private@1700000000-run"]
    await driver.stop(PRIVATE)
    assert zfs.changes() == []
    await driver.start(replace(PRIVATE, size_bytes=9 * MIB + 1))
    assert zfs.changes() == [
        f"zfs snapshot {Q}/my-work/private@1700000000-run",
        f"zfs set volsize=9568256 {Q}/my-work/private",
    ]
    await driver.stop(PRIVATE)
    zfs.changes()
    await driver.remove(PRIVATE.vid)
    assert zfs.changes() == [f"zfs destroy -r {Q}/my-work/private", f"zfs destroy {Q}/my-work"]


async def test_the_commands_of_revisions(zfs: ZfsModel, driver: ZfsDriver) -> None:
    at = f"{Q}/my-work/private"
    await driver.create(KEPT)
    for second, letter in ((1700000000, b"a"), (1700000001, b"b")):
        write((await driver.start(KEPT)).path, letter)
        zfs.changes()
        await driver.stop(KEPT)
        assert zfs.changes()[0] == f"zfs rename {at}@{second}-run {at}@{second}-back"
    assert [one.id for one in await driver.revisions(KEPT.vid)] == ["1700000001"]
    revision = await driver.snapshot(KEPT)
    assert (revision.id, revision.time_s) == ("1700000002", 1700000002.0)
    assert zfs.changes() == [f"zfs snapshot {at}@1700000002-back"]
    await driver.revert(KEPT, "1700000001")
    assert zfs.changes() == [
        f"{CLONE} {at}@1700000001-back {at}-new",
        f"zfs snapshot {at}@1700000003-back",
        f"zfs rename {at} {at}-1700000003-past",
        f"zfs rename {at}-new {at}",
        f"zfs destroy -d {at}-1700000003-past@1700000001-back,1700000002-back",
    ]
    assert [one.id for one in await driver.revisions(KEPT.vid)] == ["1700000003"]
    await driver.revert(replace(KEPT, revisions_to_keep=0), "1700000003")
    assert await driver.revisions(KEPT.vid) == []
    assert len(zfs.volumes) == 1, "what is past goes with its last revision"


async def test_a_snapshot_call_of_a_running_volume_keeps_the_snapshot_that_is_there(
    zfs: ZfsModel, driver: ZfsDriver
) -> None:
    at = f"{Q}/my-work/private"
    await driver.create(MANY)
    write((await driver.start(MANY)).path, b"a")
    zfs.changes()
    one = await driver.snapshot(MANY)
    assert await driver.snapshot(MANY) == one
    assert zfs.changes() == [f"zfs rename {at}@1700000000-run {at}@1700000000-kept"]
    assert await driver.revisions(MANY.vid) == [one]
    await driver.stop(MANY)
    assert zfs.changes() == [f"zfs rename {at}@1700000000-kept {at}@1700000000-back"]
    assert await driver.revisions(MANY.vid) == [one]


async def test_each_snapshot_call_keeps_a_revision_that_stays(
    zfs: ZfsModel, driver: ZfsDriver
) -> None:
    await driver.create(MANY)
    await commit(driver, MANY, b"a")
    one = await driver.snapshot(MANY)
    await driver.start(MANY)
    two = await driver.snapshot(MANY)
    await driver.stop(MANY)
    assert (await driver.revisions(MANY.vid))[-2:] == [one, two]


async def test_a_content_that_is_a_revision_is_not_kept_twice(
    zfs: ZfsModel, driver: ZfsDriver
) -> None:
    await driver.create(MANY)
    await commit(driver, MANY, b"a")
    one = await driver.snapshot(MANY)
    await commit(driver, MANY, b"b")
    assert (await driver.revisions(MANY.vid))[-1] == one
    two = await driver.snapshot(MANY)
    write(await driver.import_begin(MANY, MIB), b"c")
    await driver.export_begin(MANY)
    await driver.import_end(MANY, success=True)
    assert (await driver.revisions(MANY.vid))[-1] == two


async def test_the_commands_of_an_import(zfs: ZfsModel, driver: ZfsDriver) -> None:
    at = f"{Q}/my-work/private"
    await driver.create(ROOT)
    await driver.create(PRIVATE)
    zfs.changes()
    path = await driver.import_begin(PRIVATE, 6 * MIB + 1)
    assert path == zfs.devices / f"{at}-import"
    assert zfs.changes() == [f"{CREATE} -V 6422528 {at}-import"]
    await driver.clone(PRIVATE, ROOT)
    assert zfs.changes() == [
        f"zfs destroy -r {at}-import",
        f"zfs snapshot {Q}/debian/root@1700000000-base",
        f"{CLONE} {Q}/debian/root@1700000000-base {at}-import",
    ]
    await driver.import_end(PRIVATE, success=True)
    assert zfs.changes() == [
        f"zfs rename {at}-import {at}-new",
        f"zfs rename {at} {at}-1700000000-past",
        f"zfs rename {at}-new {at}",
        f"zfs destroy -r {at}-1700000000-past",
    ]
    await driver.import_end(PRIVATE, success=False)
    assert zfs.changes() == []


async def test_the_commands_of_what_is_not_saved(zfs: ZfsModel, driver: ZfsDriver) -> None:
    await driver.create(ROOT)
    base = f"{Q}/debian/root@1700000000-base"
    zfs.changes()
    for volume, made in (
        (SNAPSHOT, [f"{CLONE} {base} {Q}/my-work/root-work"]),
        (VOLATILE, [f"{CREATE} -V 4194304 {Q}/my-work/volatile-work"]),
    ):
        removed, qube = f"zfs destroy -r {volume.vid}-work", f"{QUBE} {Q}/my-work"
        await driver.create(volume)
        image = await driver.start(volume)
        assert image.path == driver.path(volume)
        new_base = [f"zfs snapshot {base}"] if volume is SNAPSHOT else []
        assert zfs.changes() == [*new_base, qube, *made]
        await driver.start(volume)
        assert zfs.changes() == [removed, *made]
        await driver.stop(volume)
        assert zfs.changes() == [removed, f"zfs destroy {Q}/my-work"]


async def test_the_commands_of_a_resize(zfs: ZfsModel, driver: ZfsDriver) -> None:
    at = f"{Q}/my-work/private"
    await driver.create(PRIVATE)
    await driver.export_begin(PRIVATE)
    await driver.export_end(PRIVATE)
    zfs.changes()
    await driver.resize(PRIVATE, 12 * MIB, running=False)
    assert zfs.changes() == [
        f"zfs destroy -d {at}@1700000000-base", f"zfs set volsize=12582912 {at}"
    ]  # fmt: skip
    await driver.resize(PRIVATE, 12 * MIB, running=False)
    assert zfs.changes() == []
    await driver.start(PRIVATE)
    await driver.start(VOLATILE)
    zfs.changes()
    await driver.resize(PRIVATE, 16 * MIB, running=True)
    await driver.resize(VOLATILE, 16 * MIB, running=True)
    assert zfs.changes() == [
        f"zfs set volsize=16777216 {at}", f"zfs set volsize=16777216 {VOLATILE.vid}-work"
    ]  # fmt: skip
    assert await driver.size_bytes(PRIVATE) == 16 * MIB
    await driver.resize(SNAPSHOT, 16 * MIB, running=False)
    assert zfs.changes() == []


async def test_an_ephemeral_volume_has_room_for_its_header(
    zfs: ZfsModel, driver: ZfsDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    monkeypatch.setattr(zfs_volumes, "make_luks", lambda *call: made.append(call) or "key")
    ephemeral = replace(VOLATILE, ephemeral=True)
    image = await driver.start(ephemeral)
    room_bytes = zfs_volumes.overhead_bytes()
    at = f"{Q}/my-work/volatile-work"
    assert zfs.changes()[1:] == [f"{CREATE} -V {4 * MIB + room_bytes} {at}"]
    assert (image.format, image.key) == ("luks", "key")
    assert made == [(image.path, 4 * MIB)]
    assert await driver.size_bytes(ephemeral) == 4 * MIB
    await driver.resize(ephemeral, 16 * MIB, running=True)
    assert zfs.changes() == [f"zfs set volsize={16 * MIB + room_bytes} {at}"]


# Guests that run on the volume itself.


async def test_without_snapshots_none_is_made_and_old_ones_are_dropped(
    zfs: ZfsModel, driver: ZfsDriver
) -> None:
    await driver.create(PRIVATE)
    await driver.export_begin(PRIVATE)
    await driver.export_end(PRIVATE)
    zfs.changes()
    for _ in range(2):
        write((await driver.start(BARE)).path, b"one")
        await driver.stop(BARE)
    assert zfs.changes() == [
        f"zfs inherit qubeward:empty {PRIVATE.vid}",
        f"zfs destroy -d {PRIVATE.vid}@1700000000-base",
    ]
    assert (await driver.export_begin(PRIVATE)).read_bytes()[:3] == b"one"
    await driver.export_end(PRIVATE)
    write((await driver.start(BARE)).path, b"two")
    await driver.clone(PRIVATE, PRIVATE)
    write(zfs.devices / PRIVATE.vid, b"six")
    await driver.stop(BARE)
    await driver.start(KEPT)
    assert (await driver.export_begin(KEPT)).read_bytes()[:3] == b"six"


async def test_a_read_only_guest_changes_nothing(zfs: ZfsModel, driver: ZfsDriver) -> None:
    await driver.create(PRIVATE)
    zfs.changes()
    image = await driver.start(replace(PRIVATE, rw=False))
    assert image.read_only
    await driver.stop(replace(PRIVATE, rw=False))
    assert zfs.changes() == []


# What others need.


async def test_exports_at_a_time_share_a_clone(zfs: ZfsModel, driver: ZfsDriver) -> None:
    at = f"{Q}/my-work/private"
    await driver.create(PRIVATE)
    zfs.changes()
    paths = [await driver.export_begin(PRIVATE) for _ in range(2)]
    assert paths == [zfs.devices / f"{at}-export"] * 2
    assert zfs.changes() == [
        f"zfs snapshot {at}@1700000000-base", f"{CLONE} {at}@1700000000-base {at}-export"
    ]  # fmt: skip
    await driver.export_end(PRIVATE)
    assert zfs.changes() == []
    await driver.export_end(PRIVATE)
    assert zfs.changes() == [f"zfs destroy -r {at}-export"]
    await driver.export_end(PRIVATE)
    assert zfs.changes() == []
    await driver.export_begin(PRIVATE)
    await commit(driver, PRIVATE, b"new")
    await open_model(zfs).export_begin(PRIVATE)
    assert zfs.changes()[-3:] == [
        f"zfs destroy -r {at}-export", f"zfs snapshot {at}@1700000001-base",
        f"{CLONE} {at}@1700000001-base {at}-export",
    ], "one of a daemon that was killed is made anew"  # fmt: skip


async def test_a_removal_promotes_what_was_cloned(zfs: ZfsModel, driver: ZfsDriver) -> None:
    await driver.create(ROOT)
    await commit(driver, replace(ROOT, revisions_to_keep=9), b"same")
    running = await driver.start(SNAPSHOT)
    copies = [replace(ROOT, vid=f"{Q}/copy{i}/root") for i in range(2)]
    for copy in copies:
        await driver.create(copy)
        await driver.clone(copy, ROOT)
        await driver.import_end(copy, success=True)
        await commit(driver, replace(ROOT, revisions_to_keep=9), b"more")
    zfs.changes()
    await driver.remove(ROOT.vid)
    changes = zfs.changes()
    assert [line for line in changes if line.startswith("zfs promote")] == [
        f"zfs promote {copies[1].vid}"
    ]
    assert changes[-1] == f"zfs destroy {Q}/debian"
    for path, data in (
        (running.path, b"same"), (zfs.devices / copies[0].vid, b"same"),
        (zfs.devices / copies[1].vid, b"more"),
    ):  # fmt: skip
        assert path.read_bytes()[:4] == data
    assert await driver.is_outdated(SNAPSHOT)
    for volume in (*copies, SNAPSHOT):
        assert await driver.revisions(volume.vid) == [], "the source's are not its own"
    for volume in (copies[1], SNAPSHOT, copies[0]):
        await driver.remove(volume.vid)
    assert zfs.names() == set()
    assert zfs.file_systems == {"tank", CONTAINER}


async def test_a_snapshot_of_what_was_replaced_is_outdated_whatever_is_cloned_later(
    driver: ZfsDriver,
) -> None:
    await driver.create(ROOT)
    await driver.start(SNAPSHOT)
    await commit(driver, ROOT, b"new")
    await driver.export_begin(ROOT)
    assert await driver.is_outdated(SNAPSHOT)


async def test_forensics_keep_what_a_guest_left_until_the_next_start(
    zfs: ZfsModel, driver: ZfsDriver
) -> None:
    keeping = open_model(zfs, forensics=True)
    await keeping.create(ROOT)
    write((await keeping.start(SNAPSHOT)).path, b"evil")
    await keeping.stop(SNAPSHOT)
    assert (zfs.devices / f"{SNAPSHOT.vid}-work").read_bytes()[:4] == b"evil"
    image = await keeping.start(SNAPSHOT)
    assert image.path.read_bytes()[:4] == bytes(4)
    await commit(keeping, ROOT, b"kept")
    assert (zfs.devices / ROOT.vid).read_bytes()[:4] == b"kept"
    await keeping.start(VOLATILE)
    await keeping.stop(VOLATILE)
    await driver.stop(SNAPSHOT)
    assert zfs.volumes.keys() == {ROOT.vid}


# What is there already.


@pytest.mark.parametrize("data", [b"", b"secret"])
async def test_a_new_volume_is_looked_into_before_it_is_taken(
    zfs: ZfsModel, driver: ZfsDriver, data: bytes
) -> None:
    await driver.create(PRIVATE)
    await driver.create(replace(PRIVATE, size_bytes=16 * MIB))
    assert await driver.size_bytes(PRIVATE) == 16 * MIB
    if data:
        await commit(driver, PRIVATE, data)
        with pytest.raises(StorageError, match="a volume with data"):
            await driver.create(PRIVATE)


@pytest.mark.parametrize("left", ["work", "import", "new", "export", "1600000000-past"])
async def test_what_is_left_of_an_older_volume_keeps_a_new_one_away(
    zfs: ZfsModel, driver: ZfsDriver, left: str
) -> None:
    zfs.file_systems.add(f"{Q}/my-work")
    run(zfs, f"{MAKE} {PRIVATE.vid}-{left}")
    with pytest.raises(StorageError, match=f"private-{left} of an older volume"):
        await driver.create(PRIVATE)
    assert await driver.vids() == [PRIVATE.vid]
    await driver.remove(PRIVATE.vid)
    assert zfs.names() == set()


async def test_snapshots_of_others_are_no_revisions(zfs: ZfsModel, driver: ZfsDriver) -> None:
    await driver.create(PRIVATE)
    for name in ("autosnap_2026", "1700000000", "1700000000-moved", "x-1700000000-back"):
        run(zfs, f"zfs snapshot {PRIVATE.vid}@{name}")
    assert await driver.revisions(PRIVATE.vid) == []
    await commit(driver, PRIVATE, b"a")
    assert len(zfs.volumes[PRIVATE.vid].snapshots) == 4
    run(zfs, f"zfs snapshot {PRIVATE.vid}@autosnap_2027")
    write((await driver.start(KEPT)).path, b"b")
    await driver.stop(KEPT)
    assert len(await driver.revisions(PRIVATE.vid)) == 1, "someone else's does not stand for it"
    run(zfs, f"{MAKE} {Q}/loose")
    assert await driver.vids() == [PRIVATE.vid]
    await driver.remove(PRIVATE.vid)
    assert zfs.volumes.keys() == {f"{Q}/loose"}


async def test_the_usage_counts_what_is_shared_with_others_and_own_things_once(
    zfs: ZfsModel, driver: ZfsDriver
) -> None:
    await driver.create(ROOT)
    await commit(driver, ROOT, b"x" * MIB)
    await driver.start(SNAPSHOT)
    assert await driver.usage_bytes(ROOT.vid) == MIB + 1024  # the model's price of a snapshot
    assert await driver.usage_bytes(SNAPSHOT.vid) == MIB
    await driver.start(ROOT)
    await driver.export_begin(ROOT)
    assert await driver.usage_bytes(ROOT.vid) == MIB + 1024 + 4096
    usage = await driver.usage()
    assert usage is not None
    assert (usage.size_bytes, usage.usage_bytes) == (1069547520 + 4096, 4096)


# What ZFS says.


async def test_a_container_that_is_not_there_is_named(zfs: ZfsModel) -> None:
    driver = ZfsDriver("tank/nosuch", run=zfs.run, devices=zfs.devices)
    for call in (driver.setup, driver.open):
        with pytest.raises(StorageError, match=r"container tank/nosuch: zfs: .* does not exist"):
            await call()


async def test_without_zfs_on_the_host_it_is_said(zfs: ZfsModel) -> None:
    def missing(
        argv: Sequence[str], *, timeout_s: float, env: Mapping[str, str], check: bool
    ) -> Completed:
        raise ProgramError(argv, "No such file or directory")

    with pytest.raises(StorageError, match="the host's zfs can't be run: No such file"):
        await ZfsDriver(Q, run=missing).open()


@pytest.mark.parametrize("times", [2, 1000])
async def test_what_is_in_use_for_a_moment_is_waited_for(
    zfs: ZfsModel, driver: ZfsDriver, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    monkeypatch.setattr(zfs_commands, "_BUSY_TIMEOUT_S", 0.2)
    monkeypatch.setattr(zfs_commands, "_BUSY_POLL_S", 0.01)
    await driver.create(PRIVATE)
    plain, left = zfs.run, [times]

    def busy(argv: Sequence[str], **more: object) -> Completed:
        if argv[1] == "destroy" and left[0]:
            left[0] -= 1
            said = b"cannot destroy 'x': dataset is busy\n"
            return Completed(returncode=1, stdout=b"", stderr=said)
        return plain(argv, **more)  # type: ignore[arg-type]

    driver._volumes._zfs._run = busy
    if times == 2:
        await driver.remove(PRIVATE.vid)
        assert zfs.names() == set()
    else:
        with pytest.raises(StorageError, match="is busy"):
            await driver.remove(PRIVATE.vid)


def test_a_device_is_asked_who_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = tmp_path / "zd0"
    assert zfs_device.find_name(device) is None
    device.touch()
    assert zfs_device.find_name(device) is None, "a file is no ZFS volume"
    answers = iter([b"tank/other", b"tank/wanted"])

    def ioctl(fd: int, request: int, buffer: bytearray) -> int:
        assert request == 0x8100127D
        name = next(answers)
        buffer[: len(name)] = name
        return 0

    monkeypatch.setattr("fcntl.ioctl", ioctl)
    assert zfs_device.await_name("x", device, "tank/wanted") == device
    assert next(answers, None) is None, "it waited until it was the right one"


def test_a_device_that_never_comes_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zfs_device, "_TIMEOUT_S", 0.1)
    with pytest.raises(StorageError, match="its device did not appear"):
        zfs_device.await_name("x", tmp_path / "zd0", "tank/wanted")


# Names.


@pytest.mark.parametrize(
    ("dataset", "vid"),
    [
        ("my-work/private", "my-work/private"),
        ("a/root-work", "a/root"),
        ("a/root-1700000000-past", "a/root"),
        ("a/root-import", "a/root"),
        ("a/root-new", "a/root"),
        ("a/root-export", "a/root"),
        ("a/root-other", None),
        ("a/root-1700000000", None),
        ("a", None),
        ("a/b/c", None),
        ("a/root@x", None),
    ],
)
def test_names_parse_from_the_right(dataset: str, vid: str | None) -> None:
    assert find_vid(Q, f"{Q}/{dataset}") == (None if vid is None else f"{Q}/{vid}")
    assert find_vid(Q, f"other/{dataset}") is None


@pytest.mark.parametrize(
    "vid",
    ["", Q, f"{Q}/", f"{Q}/a", "other/a/root", f"{Q}/a/root-work", f"{Q}/a/root@x", f"{Q}/../root",
     f"{Q}/a/root/x", f"{Q}/a/root\n", f"{Q}/-r/root", f"{Q}x/a/root", f"{Q}/a/b c", "/a/root"],
)  # fmt: skip
async def test_a_vid_leads_nowhere_else(zfs: ZfsModel, driver: ZfsDriver, vid: str) -> None:
    volume = VolumeSpec(vid=vid, size_bytes=MIB, save_on_stop=True)
    for call in (
        driver.create(volume), driver.remove(vid), driver.start(volume), driver.stop(volume),
        driver.start(replace(SNAPSHOT, source=vid)), driver.import_begin(volume, 1),
        driver.usage_bytes(vid), driver.import_end(volume, success=True),
        driver.size_bytes(volume), driver.revisions(vid), driver.snapshot(volume),
        driver.revert(volume, "1"), driver.clone(volume, ROOT), driver.clone(PRIVATE, volume),
        driver.export_begin(volume), driver.resize(volume, MIB, running=False),
    ):  # fmt: skip
        with pytest.raises(StorageError, match="volume id"):
            await call
    assert zfs.changes() == []


def test_a_past_of_another_volume_is_not_one_of_this() -> None:
    at = parse_vid(Q, f"{Q}/a/root")
    assert at == VolumeDatasets(f"{Q}/a/root")
    assert at.parse_past(f"{Q}/a/root-17-past") == 17
    for name in ("root2-17-past", "root-x-17-past", "root-017-past", "root-past"):
        assert at.parse_past(f"{Q}/a/{name}") is None


@pytest.mark.parametrize(
    "text",
    ["", "-r", "--r", "a b", "/a", "a/", "a//b", "a/..", "a/-x", "1a", "a@b", "a#b", "a\n", "é",
     "a" * 129],
)  # fmt: skip
def test_a_container_can_be_no_option_and_no_snapshot(text: str) -> None:
    open_zfs({"container": "tank/qu-bes_1.0:x"})
    with pytest.raises(BadValueError, match="container"):
        open_zfs({"container": text})


async def test_a_pool_makes_nothing_and_keeps_no_records(zfs: ZfsModel, driver: ZfsDriver) -> None:
    await driver.setup()
    await driver.open()
    await driver.teardown()
    await driver.tidy(PRIVATE)
    assert zfs.changes() == []
    assert driver.vid("my-work", "private", template=False) == PRIVATE.vid
    with pytest.raises(StorageError, match="keeps no records"):
        await driver.keep_record(PRIVATE.vid, b"record")
    assert await driver.records() == {}
    await driver.close()


def run(zfs: ZfsModel, line: str) -> None:
    done = zfs.run(line.split(), timeout_s=1, env={"LC_ALL": "C"}, check=False)
    assert done.returncode == 0
