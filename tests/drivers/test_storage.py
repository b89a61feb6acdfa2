"""The contract of `storage/driver.py`, held to every driver that keeps volumes."""

import asyncio
import itertools
import os
import stat
from dataclasses import replace

import pytest

from drivers.conftest import MIB, POOLS, Pool, open_pool, resize_image
from qubeward.errors import StorageError
from qubeward.storage.driver import BlockImage, VolumeSpec

#: Pools that are directories.
OF_FILES = [kind for kind in POOLS if kind not in {"memory", "lvm_thin", "zfs"}]
#: Pools whose volumes keep more than one revision.
OF_REVISIONS = [kind for kind in POOLS if kind != "file"]


async def run_guest(pool: Pool, volume: VolumeSpec, data: bytes) -> None:
    image = await pool.driver.start(volume)
    pool.write(image, 0, data)
    await pool.driver.stop(volume)


async def read_committed(pool: Pool, volume: VolumeSpec, count: int, offset: int = 0) -> bytes:
    """Read what is committed, without a commit of its own."""
    path = await pool.driver.export_begin(volume)
    try:
        return (
            pool.read(BlockImage(path=path), offset, count)
            if pool.kind != "memory"
            else (_read_file(path, offset, count))
        )
    finally:
        await pool.driver.export_end(volume)


def _read_file(path, offset: int, count: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(count)


async def read_as_guest(pool: Pool, volume: VolumeSpec, count: int) -> bytes:
    image = await pool.driver.start(volume)
    data = pool.read(image, 0, count)
    await pool.driver.stop(volume)
    return data


def fill(path, data: bytes) -> None:
    with path.open("r+b") as file:
        file.write(data)
        file.flush()
        if str(path).startswith("/dev/"):
            os.fsync(file.fileno())


async def import_(pool: Pool, volume: VolumeSpec, data: bytes, size_bytes: int = 8 * MIB) -> None:
    fill(await pool.driver.import_begin(volume, size_bytes), data)
    await pool.driver.import_end(volume, success=True)


async def ids(pool: Pool, volume: VolumeSpec) -> list[str]:
    return [revision.id for revision in await pool.driver.revisions(volume.vid)]


def names(pool: Pool) -> set[str]:
    assert pool.dir_path is not None
    return {str(p.relative_to(pool.dir_path)) for p in pool.dir_path.rglob("*") if p.is_file()}


# The four kinds.


async def test_a_new_volume_is_empty_sparse_and_of_its_size(pool: Pool) -> None:
    await pool.driver.create(pool.private)
    assert await pool.driver.size_bytes(pool.private) == 8 * MIB
    assert await pool.driver.usage_bytes(pool.private.vid) < MIB
    assert list(await pool.driver.vids()) == [pool.private.vid]
    assert await read_committed(pool, pool.private, 16) == bytes(16)
    assert await read_as_guest(pool, pool.private, 16) == bytes(16)


async def test_an_origin_keeps_what_its_guest_wrote(pool: Pool) -> None:
    await pool.driver.create(pool.private)
    await run_guest(pool, pool.private, b"kept")
    assert await read_committed(pool, pool.private, 4) == b"kept"
    assert await read_as_guest(pool, pool.private, 4) == b"kept"


async def test_a_snapshot_starts_as_its_source_each_time(pool: Pool) -> None:
    await pool.driver.create(pool.root)
    await run_guest(pool, pool.root, b"template")
    await run_guest(pool, pool.snapshot, b"scribble")
    assert await read_as_guest(pool, pool.snapshot, 8) == b"template"
    assert await read_committed(pool, pool.root, 8) == b"template"
    assert pool.snapshot.vid not in await pool.driver.vids()


async def test_a_snapshot_of_a_running_template_is_of_its_last_stop(pool: Pool) -> None:
    await pool.driver.create(pool.root)
    await run_guest(pool, pool.root, b"before")
    template = await pool.driver.start(pool.root)
    pool.write(template, 0, b"middle")
    assert await read_as_guest(pool, pool.snapshot, 6) == b"before"
    running = await pool.driver.start(pool.snapshot)
    await pool.driver.stop(pool.root)
    assert pool.read(running, 0, 6) == b"before"
    await pool.driver.stop(pool.snapshot)
    assert await read_as_guest(pool, pool.snapshot, 6) == b"middle"


async def test_a_started_snapshot_is_outdated_once_its_source_is_committed(pool: Pool) -> None:
    await pool.driver.create(pool.root)
    assert not await pool.driver.is_outdated(pool.snapshot)
    await pool.driver.start(pool.snapshot)
    assert not await pool.driver.is_outdated(pool.snapshot)
    await pool.driver.start(pool.root)
    assert not await pool.driver.is_outdated(pool.snapshot)
    await pool.driver.stop(pool.root)
    assert await pool.driver.is_outdated(pool.snapshot)
    await pool.driver.stop(pool.snapshot)
    await pool.driver.start(pool.snapshot)
    assert not await pool.driver.is_outdated(pool.snapshot)
    assert not await pool.driver.is_outdated(pool.private)


async def test_a_volatile_volume_is_fresh_each_time(pool: Pool) -> None:
    await pool.driver.create(pool.volatile)
    await run_guest(pool, pool.volatile, b"gone")
    image = await pool.driver.start(pool.volatile)
    assert pool.read(image, 0, 4) == bytes(4)
    pool.write(image, 0, b"left by a crash")
    image = await pool.driver.start(pool.volatile)
    assert pool.read(image, 0, 4) == bytes(4)
    assert await pool.driver.size_bytes(pool.volatile) == 8 * MIB
    await pool.driver.stop(pool.volatile)
    assert list(await pool.driver.vids()) == []


@pytest.mark.parametrize("pool", [kind for kind in POOLS if kind != "memory"], indirect=True)
async def test_an_ephemeral_volume_has_a_key_of_its_own_each_time(pool: Pool) -> None:
    ephemeral = replace(pool.volatile, ephemeral=True)
    keys = set()
    for _ in range(2):
        image = await pool.driver.start(ephemeral)
        assert image.format == "luks"
        assert image.key is not None
        assert image.key not in repr(image)
        keys.add(image.key)
        assert pool.read(BlockImage(path=image.path), 0, 4) == b"LUKS"
        await pool.driver.stop(ephemeral)
    assert len(keys) == 2
    assert list(await pool.driver.vids()) == []


async def test_an_origin_snapshot_copies_its_source_and_becomes_the_volume(pool: Pool) -> None:
    both = pool.spec("both", "root", source=pool.root.vid, save_on_stop=True, snap_on_start=True)
    await pool.driver.create(pool.root)
    await run_guest(pool, pool.root, b"source")
    await pool.driver.create(both)
    await run_guest(pool, both, b"target")
    clone = pool.spec("c", "root", source=both.vid, snap_on_start=True)
    assert await read_as_guest(pool, clone, 6) == b"target"
    assert await read_as_guest(pool, both, 6) == b"source"


async def test_a_read_only_origin_is_what_is_committed(pool: Pool) -> None:
    await pool.driver.create(pool.private)
    await run_guest(pool, pool.private, b"kept")
    image = await pool.driver.start(replace(pool.private, rw=False))
    assert image.read_only
    assert pool.read(image, 0, 4) == b"kept"
    await pool.driver.stop(replace(pool.private, rw=False))
    assert await read_committed(pool, pool.private, 4) == b"kept"


async def test_a_snapshot_grows_to_its_own_size_and_never_shrinks(pool: Pool) -> None:
    await pool.driver.create(pool.root)
    for size_bytes, expected in ((16 * MIB, 16 * MIB), (4 * MIB, 8 * MIB)):
        volume = replace(pool.snapshot, size_bytes=size_bytes)
        assert await pool.driver.size_bytes(volume) == expected
        await pool.driver.start(volume)
        assert await pool.driver.size_bytes(volume) == expected
        await pool.driver.stop(volume)


async def test_a_missing_source_is_named(pool: Pool) -> None:
    with pytest.raises(StorageError, match="is not in this pool") as raised:
        await pool.driver.start(pool.snapshot)
    assert pool.root.vid in str(raised.value)
    with pytest.raises(StorageError, match="has no source"):
        await pool.driver.start(replace(pool.snapshot, source=None))


async def test_a_volume_that_was_never_created_does_not_start(pool: Pool) -> None:
    with pytest.raises(StorageError, match="never created"):
        await pool.driver.start(pool.private)


async def test_what_a_guest_wrote_before_a_crash_is_kept_by_stop_and_by_start(pool: Pool) -> None:
    await pool.driver.create(pool.private)
    image = await pool.driver.start(pool.private)
    pool.write(image, 0, b"one")
    await pool.driver.start(pool.private)
    image = await pool.driver.start(pool.private)
    assert pool.read(image, 0, 3) == b"one"
    pool.write(image, 0, b"two")
    await pool.driver.stop(pool.private)
    await pool.driver.stop(pool.private)
    assert await read_committed(pool, pool.private, 3) == b"two"


async def test_create_stop_and_remove_may_be_repeated(pool: Pool) -> None:
    for volume in (pool.root, pool.private, pool.volatile, pool.snapshot):
        for _ in range(2):
            await pool.driver.stop(volume)
            await pool.driver.create(volume)
            await pool.driver.create(volume)
            await pool.driver.remove(volume.vid)
            await pool.driver.remove(volume.vid)
    assert list(await pool.driver.vids()) == []


@pytest.mark.parametrize("stopped", [True, False])
async def test_create_never_hands_old_data_to_a_new_qube(pool: Pool, stopped: bool) -> None:
    await pool.driver.create(pool.private)
    image = await pool.driver.start(pool.private)
    pool.write(image, 0, b"secret")
    if stopped:
        await pool.driver.stop(pool.private)
    with pytest.raises(StorageError):
        await pool.driver.create(pool.private)
    assert await read_as_guest(pool, pool.private, 6) == b"secret"


async def test_remove_takes_everything_of_the_volume_and_nothing_else(pool: Pool) -> None:
    private, other = replace(pool.private, revisions_to_keep=1), pool.spec("work", "private2")
    other = replace(other, save_on_stop=True)
    await pool.driver.create(private)
    await run_guest(pool, private, b"one")
    await run_guest(pool, private, b"two")
    await pool.driver.import_begin(private, 8 * MIB)
    await pool.driver.start(private)
    await pool.driver.create(other)
    await pool.driver.remove(private.vid)
    assert list(await pool.driver.vids()) == [other.vid]
    assert await pool.driver.usage_bytes(private.vid) == 0
    assert await ids(pool, private) == []
    await pool.driver.create(private)
    assert await read_as_guest(pool, private, 3) == bytes(3)
    await pool.driver.remove(private.vid)
    await pool.driver.remove(other.vid)
    if pool.dir_path is not None:
        assert not (pool.dir_path / "appvms" / "work").exists()


# Sizes.


async def test_a_volume_grows_offline_and_its_new_end_is_zeros(pool: Pool) -> None:
    await pool.driver.create(pool.private)
    await run_guest(pool, pool.private, b"kept")
    for _ in range(2):
        await pool.driver.resize(pool.private, 16 * MIB, running=False)
        assert await pool.driver.size_bytes(pool.private) == 16 * MIB
    await pool.driver.resize(pool.private, 12 * MIB, running=False)
    assert await pool.driver.size_bytes(pool.private) == 16 * MIB
    grown = replace(pool.private, size_bytes=16 * MIB)
    image = await pool.driver.start(grown)
    assert pool.read(image, 0, 4) == b"kept"
    assert pool.read(image, 16 * MIB - 512, 512) == bytes(512)
    pool.write(image, 16 * MIB - 512, b"end")
    await pool.driver.stop(grown)
    assert await read_committed(pool, grown, 3, 16 * MIB - 512) == b"end"


async def test_a_resize_makes_room_under_a_running_guest(pool: Pool) -> None:
    await pool.driver.create(pool.private)
    image = await pool.driver.start(pool.private)
    pool.write(image, 0, b"kept")
    await pool.driver.resize(pool.private, 16 * MIB, running=True)
    if pool.kind not in {"memory", "lvm_thin", "zfs"}:  # QEMU does so
        resize_image(image, 16 * MIB)
    grown = replace(pool.private, size_bytes=16 * MIB)
    assert await pool.driver.size_bytes(grown) == 16 * MIB
    pool.write(image, 16 * MIB - 512, b"end")
    await pool.driver.stop(grown)
    assert await pool.driver.size_bytes(grown) == 16 * MIB
    assert await read_committed(pool, grown, 4) == b"kept"
    assert await read_committed(pool, grown, 3, 16 * MIB - 512) == b"end"


async def test_what_is_made_anew_has_its_size_at_its_next_start(pool: Pool) -> None:
    await pool.driver.create(pool.root)
    for volume in (pool.volatile, pool.snapshot):
        await pool.driver.resize(volume, 16 * MIB, running=False)
        grown = replace(volume, size_bytes=16 * MIB)
        await pool.driver.start(grown)
        assert await pool.driver.size_bytes(grown) == 16 * MIB
        await pool.driver.stop(grown)
    with pytest.raises(StorageError, match="never created"):
        await pool.driver.resize(pool.private, 16 * MIB, running=False)


async def test_sparse_volumes_stay_sparse(pool: Pool) -> None:
    big = pool.spec("big", "private", size_bytes=1024 * MIB, save_on_stop=True)
    await pool.driver.create(big)
    for offset in (0, 500 * MIB, 1024 * MIB - 512):
        image = await pool.driver.start(big)
        pool.write(image, offset, b"data")
        await pool.driver.stop(big)
    assert await pool.driver.size_bytes(big) == 1024 * MIB
    assert 0 < await pool.driver.usage_bytes(big.vid) < 4 * MIB
    usage = await pool.driver.usage()
    assert usage is not None
    assert 0 < usage.usage_bytes <= usage.size_bytes


# Revisions.


@pytest.mark.parametrize("pool", OF_REVISIONS, indirect=True)
async def test_a_commit_keeps_as_many_revisions_as_it_is_told(pool: Pool) -> None:
    two = replace(pool.private, revisions_to_keep=2)
    await pool.driver.create(two)
    found: list[list[str]] = []
    for letter in (b"a", b"b", b"c", b"d"):
        await run_guest(pool, two, letter)
        found.append(await ids(pool, two))
    assert [len(each) for each in found] == [1, 2, 2, 2]
    assert found[2][0] == found[1][1]
    assert len({one for each in found for one in each}) == 4
    times = [revision.time_s for revision in await pool.driver.revisions(two.vid)]
    assert times == sorted(times, key=lambda t: t or 0)
    one = replace(two, revisions_to_keep=1)
    assert len(await ids(pool, one)) == 2, "nothing but a commit drops any"
    await run_guest(pool, one, b"e")
    assert len(await ids(pool, one)) == 1
    await run_guest(pool, replace(two, revisions_to_keep=0), b"f")
    assert await ids(pool, two) == []


@pytest.mark.parametrize("pool", OF_REVISIONS, indirect=True)
async def test_a_revert_goes_back_and_keeps_what_was(pool: Pool) -> None:
    many = replace(pool.private, revisions_to_keep=9)
    await pool.driver.create(many)
    for letter in (b"a", b"b", b"c"):
        await run_guest(pool, many, letter)
    empty, a, b = await ids(pool, many)
    await pool.driver.revert(many, a)
    assert await read_committed(pool, many, 1) == b"a"
    assert (await ids(pool, many))[:3] == [empty, a, b]
    assert len(await ids(pool, many)) == 4
    await run_guest(pool, many, b"d")
    await pool.driver.revert(many, a)
    assert await read_committed(pool, many, 1) == b"a", "a guest can't write to a revision"
    await pool.driver.revert(many, (await ids(pool, many))[3])
    assert await read_committed(pool, many, 1) == b"c"
    await pool.driver.revert(many, empty)
    assert await read_as_guest(pool, many, 1) == b"\0"
    with pytest.raises(StorageError, match="no revision nosuch"):
        await pool.driver.revert(many, "nosuch")


async def test_a_revert_with_nothing_to_keep_still_goes_back(pool: Pool) -> None:
    one = replace(pool.private, revisions_to_keep=1)
    await pool.driver.create(one)
    await run_guest(pool, one, b"a")
    await run_guest(pool, one, b"b")
    (a,) = await ids(pool, one)
    await pool.driver.revert(replace(one, revisions_to_keep=0), a)
    assert await read_committed(pool, one, 1) == b"a"
    assert await ids(pool, one) == []


async def test_a_revert_brings_the_old_size_back(pool: Pool) -> None:
    one = replace(pool.private, revisions_to_keep=1)
    await pool.driver.create(one)
    await run_guest(pool, one, b"a")
    await import_(pool, one, b"b", 16 * MIB)
    (a,) = await ids(pool, one)
    assert await pool.driver.size_bytes(one) == 16 * MIB
    await pool.driver.revert(one, a)
    assert await pool.driver.size_bytes(one) == 8 * MIB
    assert await read_committed(pool, one, 1) == b"a"


@pytest.mark.parametrize("pool", OF_REVISIONS, indirect=True)
async def test_a_snapshot_call_keeps_what_is_committed(pool: Pool) -> None:
    many = replace(pool.private, revisions_to_keep=9)
    await pool.driver.create(many)
    await run_guest(pool, many, b"a")
    image = await pool.driver.start(many)
    pool.write(image, 0, b"b")
    before = await ids(pool, many)
    kept = await pool.driver.snapshot(many)
    assert await ids(pool, many) == [*before, kept.id]
    await pool.driver.stop(many)
    assert await read_committed(pool, many, 1) == b"b"
    assert await ids(pool, many) == [*before, kept.id], "the same content need not be kept twice"
    await pool.driver.resize(many, 16 * MIB, running=False)
    await pool.driver.revert(many, kept.id)
    assert await read_committed(pool, many, 1) == b"a"
    with pytest.raises(StorageError, match="keeps no"):
        await pool.driver.snapshot(pool.volatile)


async def test_without_snapshots_a_guest_may_run_on_the_volume_itself(pool: Pool) -> None:
    bare = replace(pool.private, revisions_to_keep=1)
    await pool.driver.create(bare)
    await run_guest(pool, bare, b"a")
    kept = await pool.driver.snapshot(bare)
    never = replace(bare, revisions_to_keep=-1)
    image = await pool.driver.start(never)
    assert pool.read(image, 0, 1) == b"a"
    pool.write(image, 0, b"b")
    await pool.driver.stop(never)
    assert await read_committed(pool, never, 1) == b"b"
    if kept.id in await ids(pool, bare):
        await pool.driver.revert(bare, kept.id)
        assert await read_committed(pool, bare, 1) == b"a", "the revision was not written to"


async def test_the_path_that_is_told_is_that_of_what_a_guest_runs_on(pool: Pool) -> None:
    for volume in (pool.root, pool.private):
        await pool.driver.create(volume)
    for volume in (
        pool.private,
        replace(pool.private, revisions_to_keep=-1),
        pool.snapshot,
        pool.volatile,
    ):
        image = await pool.driver.start(volume)
        assert pool.driver.path(volume) == image.path
        await pool.driver.stop(volume)


# New contents.


async def test_an_import_switches_at_its_end_and_not_before(pool: Pool) -> None:
    await pool.driver.create(pool.private)
    await run_guest(pool, pool.private, b"old")
    path = await pool.driver.import_begin(pool.private, 16 * MIB)
    fill(path, b"new")
    assert await read_committed(pool, pool.private, 3) == b"old"
    await pool.driver.import_end(pool.private, success=True)
    assert await pool.driver.size_bytes(pool.private) == 16 * MIB
    assert await read_committed(pool, pool.private, 3) == b"new"
    assert await read_committed(pool, pool.private, 8, 16 * MIB - 8) == bytes(8)
    with pytest.raises(StorageError, match="no import was begun"):
        await pool.driver.import_end(pool.private, success=True)


async def test_an_import_may_make_a_volume_smaller(pool: Pool) -> None:
    await pool.driver.create(pool.private)
    await import_(pool, pool.private, b"new", 4 * MIB)
    assert await pool.driver.size_bytes(pool.private) == 4 * MIB
    small = replace(pool.private, size_bytes=4 * MIB)
    assert await read_as_guest(pool, small, 3) == b"new"


async def test_a_failed_import_changes_nothing(pool: Pool) -> None:
    await pool.driver.create(pool.private)
    await run_guest(pool, pool.private, b"old")
    for _ in range(2):
        fill(await pool.driver.import_begin(pool.private, 4 * MIB), b"half")
        path = await pool.driver.import_begin(pool.private, 4 * MIB)
        assert _read_file(path, 0, 4) == bytes(4)
        await pool.driver.import_end(pool.private, success=False)
        await pool.driver.import_end(pool.private, success=False)
    assert await read_committed(pool, pool.private, 3) == b"old"
    assert await pool.driver.size_bytes(pool.private) == 8 * MIB


async def test_an_import_outlives_a_leftover_working_image(pool: Pool) -> None:
    await pool.driver.create(pool.private)
    image = await pool.driver.start(pool.private)
    pool.write(image, 0, b"crashed")
    await import_(pool, pool.private, b"imported")
    assert await read_committed(pool, pool.private, 8) == b"imported"


async def test_an_import_keeps_what_was_as_a_revision(pool: Pool) -> None:
    one = replace(pool.private, revisions_to_keep=1)
    await pool.driver.create(one)
    await run_guest(pool, one, b"old")
    await import_(pool, one, b"new")
    (old,) = await ids(pool, one)
    await pool.driver.revert(one, old)
    assert await read_committed(pool, one, 3) == b"old"


async def test_a_clone_has_the_content_and_the_size_and_goes_its_own_way(pool: Pool) -> None:
    source, target = pool.root, pool.spec("copy", "root", size_bytes=4 * MIB, save_on_stop=True)
    await pool.driver.create(source)
    await run_guest(pool, source, b"same")
    await pool.driver.create(target)
    await pool.driver.clone(target, source)
    assert await pool.driver.size_bytes(target) == 4 * MIB
    await pool.driver.import_end(target, success=True)
    assert await pool.driver.size_bytes(target) == 8 * MIB
    assert await read_committed(pool, target, 4) == b"same"
    grown = replace(target, size_bytes=8 * MIB)
    await run_guest(pool, grown, b"this")
    await run_guest(pool, source, b"that")
    assert await read_committed(pool, grown, 4) == b"this"
    assert await read_committed(pool, source, 4) == b"that"
    await pool.driver.remove(source.vid)
    assert await read_as_guest(pool, grown, 4) == b"this"


async def test_a_clone_that_is_given_up_changes_nothing(pool: Pool) -> None:
    for volume in (pool.root, pool.private):
        await pool.driver.create(volume)
        await run_guest(pool, volume, volume.vid[:6].encode())
    before = await read_committed(pool, pool.private, 6)
    for _ in range(2):
        await pool.driver.clone(pool.private, pool.root)
        await pool.driver.clone(pool.private, pool.root)
        await pool.driver.import_end(pool.private, success=False)
    assert await read_committed(pool, pool.private, 6) == before
    await pool.driver.remove(pool.root.vid)
    with pytest.raises(StorageError, match="never created"):
        await pool.driver.clone(pool.private, pool.root)


async def test_a_clone_of_a_clone_outlives_both(pool: Pool) -> None:
    volumes = [pool.spec(f"q{i}", "private", save_on_stop=True) for i in range(3)]
    await pool.driver.create(volumes[0])
    await run_guest(pool, volumes[0], b"same")
    for source, target in itertools.pairwise(volumes):
        await pool.driver.create(target)
        await pool.driver.clone(target, source)
        await pool.driver.import_end(target, success=True)
    await pool.driver.remove(volumes[0].vid)
    await pool.driver.remove(volumes[1].vid)
    assert await read_as_guest(pool, volumes[2], 4) == b"same"


@pytest.mark.parametrize("name", ["volatile", "snapshot"])
async def test_nothing_comes_to_what_keeps_nothing(pool: Pool, name: str) -> None:
    volume = getattr(pool, name)
    await pool.driver.create(pool.root)
    with pytest.raises(StorageError, match="keeps nothing"):
        await pool.driver.import_begin(volume, MIB)
    with pytest.raises(StorageError, match="keeps nothing"):
        await pool.driver.clone(volume, pool.root)
    with pytest.raises(StorageError, match="keeps nothing"):
        await pool.driver.export_begin(volume)


async def test_an_export_is_of_the_last_stop_whatever_happens_meanwhile(pool: Pool) -> None:
    await pool.driver.create(pool.private)
    await run_guest(pool, pool.private, b"before")
    image = await pool.driver.start(pool.private)
    pool.write(image, 0, b"middle")
    path = await pool.driver.export_begin(pool.private)
    with path.open("rb") as file:
        assert file.read(6) == b"before"
        if pool.dir_path is not None:
            assert path.stat().st_size == 8 * MIB
    await pool.driver.export_end(pool.private)
    await pool.driver.export_end(pool.private)
    assert pool.read(image, 0, 6) == b"middle"
    await pool.driver.stop(pool.private)
    with pytest.raises(StorageError, match="never created"):
        await pool.driver.export_begin(pool.root)


# The pool.


async def test_what_was_kept_is_there_when_the_pool_is_opened_again(pool: Pool) -> None:
    if pool.kind == "memory":
        return  # nothing of it outlives the process
    one = replace(pool.private, revisions_to_keep=1)
    await pool.driver.create(pool.root)
    await run_guest(pool, pool.root, b"template")
    await pool.driver.create(one)
    await run_guest(pool, one, b"a")
    pool.write(await pool.driver.start(one), 0, b"b")
    running = await pool.driver.start(pool.snapshot)
    pool.write(running, 0, b"scribble")
    again = Pool(pool.kind, open_pool(pool.kind, pool.dir_path), pool.dir_path)
    await again.driver.open()
    assert again.read(running, 0, 8) == b"scribble", "a guest may be running on it"
    assert await read_committed(again, one, 1) == b"a"
    await again.driver.stop(one)
    await again.driver.stop(pool.snapshot)
    assert await read_committed(again, one, 1) == b"b"
    assert len(await ids(again, one)) == 1
    assert sorted(await again.driver.vids()) == sorted([pool.root.vid, one.vid])
    await again.driver.close()


@pytest.mark.parametrize("pool", OF_FILES, indirect=True)
async def test_a_pool_whose_place_is_missing_is_not_made_anew(pool: Pool) -> None:
    assert pool.dir_path is not None
    await pool.driver.create(pool.private)
    aside = pool.dir_path.with_name("aside")
    pool.dir_path.rename(aside)
    for make_mount_point in (False, True):
        if make_mount_point:
            pool.dir_path.mkdir()
        driver = open_pool(pool.kind, pool.dir_path)
        with pytest.raises(StorageError, match="mounted"):
            await driver.open()
    assert list(pool.dir_path.iterdir()) == []
    pool.dir_path.rmdir()
    aside.rename(pool.dir_path)
    await driver.open()
    assert list(await driver.vids()) == [pool.private.vid]
    await driver.close()


@pytest.mark.parametrize("pool", OF_FILES, indirect=True)
async def test_teardown_undoes_setup_and_never_takes_data(pool: Pool) -> None:
    assert pool.dir_path is not None
    await pool.driver.create(pool.private)
    await pool.driver.teardown()
    await pool.driver.setup()
    assert list(await pool.driver.vids()) == [pool.private.vid]
    await pool.driver.remove(pool.private.vid)
    await pool.driver.teardown()
    await pool.driver.teardown()
    assert not pool.dir_path.exists()
    await pool.driver.setup()


async def test_records_go_with_their_volume(pool: Pool) -> None:
    if not pool.driver.capabilities.keeps_records:
        return
    await pool.driver.create(pool.private)
    for record in (b"one", b"\0two\xff"):
        await pool.driver.keep_record(pool.private.vid, record)
        assert await pool.driver.records() == {pool.private.vid: record}
    await run_guest(pool, pool.private, b"x")
    assert await pool.driver.records() == {pool.private.vid: b"\0two\xff"}
    await pool.driver.remove(pool.private.vid)
    assert await pool.driver.records() == {}


@pytest.mark.parametrize("pool", ["memory", *OF_FILES], indirect=True)
@pytest.mark.parametrize("vid", ["../x/y", "/etc/passwd/z", "appvms/../private", "appvms/a", ""])
async def test_a_vid_leads_nowhere_else(pool: Pool, vid: str) -> None:
    volume = VolumeSpec(vid=vid, size_bytes=MIB, save_on_stop=True)
    snapshot = replace(pool.snapshot, source=vid)
    driver = pool.driver
    for call in (
        driver.create(volume), driver.remove(vid), driver.start(volume), driver.stop(volume),
        driver.start(snapshot), driver.import_begin(volume, 1), driver.usage_bytes(vid),
        driver.import_end(volume, success=True), driver.size_bytes(volume),
        driver.revisions(vid), driver.snapshot(volume), driver.revert(volume, "1"),
        driver.clone(volume, pool.root), driver.export_begin(volume),
        driver.resize(volume, MIB, running=False),
    ):  # fmt: skip
        with pytest.raises(StorageError, match="volume id"):
            await call


async def test_calls_on_different_volumes_run_together(pool: Pool) -> None:
    volumes = [pool.spec(f"qube{i}", "private", save_on_stop=True) for i in range(12)]
    await asyncio.gather(*(pool.driver.create(volume) for volume in volumes))
    await asyncio.gather(*(run_guest(pool, volume, volume.vid.encode()) for volume in volumes))
    for volume in volumes:
        assert await read_committed(pool, volume, len(volume.vid)) == volume.vid.encode()
    assert len(await pool.driver.vids()) == 12


@pytest.mark.parametrize("pool", OF_FILES, indirect=True)
async def test_files_are_private_and_directories_can_be_passed(pool: Pool) -> None:
    assert pool.dir_path is not None
    old = os.umask(0o077)
    try:
        await pool.driver.create(pool.private)
        image = await pool.driver.start(pool.private)
        await pool.driver.import_begin(pool.private, MIB)
        await pool.driver.keep_record(pool.private.vid, b"record")
    finally:
        os.umask(old)
    for path in (image.path, *(pool.dir_path / name for name in names(pool))):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for name in ("appvms", "appvms/work"):
        assert stat.S_IMODE((pool.dir_path / name).stat().st_mode) == 0o711
