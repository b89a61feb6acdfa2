"""The contract of `storage/driver.py`, held to every driver that keeps volumes."""

import asyncio
import os
import stat

import pytest

from drivers.conftest import POOLS, Pool
from qubeward.errors import StorageError
from qubeward.storage.driver import VolumeSpec

MIB = 1 << 20

ROOT = VolumeSpec(vid="vm-templates/debian/root", size_bytes=8 * MIB, save_on_stop=True)
PRIVATE = VolumeSpec(vid="appvms/work/private", size_bytes=4 * MIB, save_on_stop=True)
VOLATILE = VolumeSpec(vid="appvms/work/volatile", size_bytes=4 * MIB)
SNAPSHOT = VolumeSpec(
    vid="appvms/work/root", size_bytes=8 * MIB, source=ROOT.vid, snap_on_start=True
)


async def run_guest(pool: Pool, volume: VolumeSpec, data: bytes) -> None:
    image = await pool.driver.start(volume)
    pool.write(image.path, 0, data)
    await pool.driver.stop(volume)


async def read_committed(pool: Pool, volume: VolumeSpec, count: int) -> bytes:
    image = await pool.driver.start(volume)
    data = pool.read(image.path, 0, count)
    await pool.driver.stop(volume)
    return data


def names(pool: Pool) -> set[str]:
    assert pool.dir_path is not None
    return {str(p.relative_to(pool.dir_path)) for p in pool.dir_path.rglob("*") if p.is_file()}


async def test_a_new_volume_is_empty_sparse_and_of_its_size(pool: Pool) -> None:
    await pool.driver.create(PRIVATE)
    assert await pool.driver.size_bytes(PRIVATE) == 4 * MIB
    assert await pool.driver.usage_bytes(PRIVATE.vid) == 0
    assert list(await pool.driver.vids()) == [PRIVATE.vid]
    assert await read_committed(pool, PRIVATE, 16) == bytes(16)


async def test_an_origin_keeps_what_its_guest_wrote(pool: Pool) -> None:
    await pool.driver.create(PRIVATE)
    await run_guest(pool, PRIVATE, b"kept")
    assert await read_committed(pool, PRIVATE, 4) == b"kept"


async def test_a_snapshot_starts_as_its_source_each_time(pool: Pool) -> None:
    await pool.driver.create(ROOT)
    await run_guest(pool, ROOT, b"template")
    await run_guest(pool, SNAPSHOT, b"scribble")
    assert await read_committed(pool, SNAPSHOT, 8) == b"template"
    assert await read_committed(pool, ROOT, 8) == b"template"
    assert SNAPSHOT.vid not in await pool.driver.vids()


async def test_a_snapshot_of_a_running_template_is_of_its_last_stop(pool: Pool) -> None:
    await pool.driver.create(ROOT)
    await run_guest(pool, ROOT, b"before")
    template = await pool.driver.start(ROOT)
    pool.write(template.path, 0, b"middle")
    assert await read_committed(pool, SNAPSHOT, 6) == b"before"
    running = await pool.driver.start(SNAPSHOT)
    await pool.driver.stop(ROOT)
    assert pool.read(running.path, 0, 6) == b"before"
    await pool.driver.stop(SNAPSHOT)
    assert await read_committed(pool, SNAPSHOT, 6) == b"middle"


async def test_a_volatile_volume_is_fresh_each_time(pool: Pool) -> None:
    await pool.driver.create(VOLATILE)
    await run_guest(pool, VOLATILE, b"gone")
    image = await pool.driver.start(VOLATILE)
    assert pool.read(image.path, 0, 4) == bytes(4)
    pool.write(image.path, 0, b"left by a crash")
    image = await pool.driver.start(VOLATILE)
    assert pool.read(image.path, 0, 4) == bytes(4)
    assert await pool.driver.size_bytes(VOLATILE) == 4 * MIB
    await pool.driver.stop(VOLATILE)
    assert list(await pool.driver.vids()) == []


async def test_an_origin_snapshot_copies_its_source_and_becomes_the_volume(pool: Pool) -> None:
    both = VolumeSpec(
        vid="appvms/both/root", size_bytes=8 * MIB, source=ROOT.vid, save_on_stop=True,
        snap_on_start=True,
    )  # fmt: skip
    await pool.driver.create(ROOT)
    await run_guest(pool, ROOT, b"source")
    await pool.driver.create(both)
    await run_guest(pool, both, b"target")
    clone = VolumeSpec(vid="appvms/c/root", size_bytes=8 * MIB, source=both.vid, snap_on_start=True)
    assert await read_committed(pool, clone, 6) == b"target"
    assert await read_committed(pool, both, 6) == b"source"


async def test_a_read_only_origin_is_its_committed_image(pool: Pool) -> None:
    await pool.driver.create(PRIVATE)
    await run_guest(pool, PRIVATE, b"kept")
    image = await pool.driver.start(
        VolumeSpec(vid=PRIVATE.vid, size_bytes=4 * MIB, save_on_stop=True, rw=False)
    )
    assert image.read_only
    assert pool.read(image.path, 0, 4) == b"kept"
    assert await pool.driver.usage_bytes(PRIVATE.vid) < 8 * MIB


async def test_a_snapshot_grows_to_its_own_size_and_never_shrinks(pool: Pool) -> None:
    await pool.driver.create(ROOT)
    for size_bytes, expected in ((16 * MIB, 16 * MIB), (1 * MIB, 8 * MIB)):
        volume = VolumeSpec(
            vid=SNAPSHOT.vid, size_bytes=size_bytes, source=ROOT.vid, snap_on_start=True
        )
        assert await pool.driver.size_bytes(volume) == expected
        await pool.driver.start(volume)
        assert await pool.driver.size_bytes(volume) == expected
        await pool.driver.stop(volume)


async def test_a_missing_source_is_named(pool: Pool) -> None:
    with pytest.raises(StorageError, match="vm-templates/debian/root is not in this pool"):
        await pool.driver.start(SNAPSHOT)
    bare = VolumeSpec(vid=SNAPSHOT.vid, size_bytes=MIB, snap_on_start=True)
    with pytest.raises(StorageError, match="has no source"):
        await pool.driver.start(bare)


async def test_a_volume_that_was_never_created_does_not_start(pool: Pool) -> None:
    with pytest.raises(StorageError, match="never created"):
        await pool.driver.start(PRIVATE)


async def test_what_a_guest_wrote_before_a_crash_is_kept_by_stop_and_by_start(pool: Pool) -> None:
    await pool.driver.create(PRIVATE)
    image = await pool.driver.start(PRIVATE)
    pool.write(image.path, 0, b"one")
    await pool.driver.start(PRIVATE)
    image = await pool.driver.start(PRIVATE)
    assert pool.read(image.path, 0, 3) == b"one"
    pool.write(image.path, 0, b"two")
    await pool.driver.stop(PRIVATE)
    await pool.driver.stop(PRIVATE)
    assert await read_committed(pool, PRIVATE, 3) == b"two"


async def test_create_stop_and_remove_may_be_repeated(pool: Pool) -> None:
    for volume in (ROOT, PRIVATE, VOLATILE, SNAPSHOT):
        for _ in range(2):
            await pool.driver.stop(volume)
            await pool.driver.create(volume)
            await pool.driver.create(volume)
            await pool.driver.remove(volume.vid)
            await pool.driver.remove(volume.vid)
    assert list(await pool.driver.vids()) == []


@pytest.mark.parametrize("stopped", [True, False])
async def test_create_never_hands_old_data_to_a_new_qube(pool: Pool, stopped: bool) -> None:
    await pool.driver.create(PRIVATE)
    image = await pool.driver.start(PRIVATE)
    pool.write(image.path, 0, b"secret")
    if stopped:
        await pool.driver.stop(PRIVATE)
        with pytest.raises(StorageError, match="a volume with data"):
            await pool.driver.create(PRIVATE)
    else:
        with pytest.raises(StorageError):
            await pool.driver.create(PRIVATE)
    assert await read_committed(pool, PRIVATE, 6) == b"secret"


async def test_remove_takes_working_and_side_files_too(pool: Pool) -> None:
    await pool.driver.create(PRIVATE)
    await pool.driver.import_begin(PRIVATE, MIB)
    await pool.driver.start(PRIVATE)
    await pool.driver.create(
        VolumeSpec(vid="appvms/work/private2", size_bytes=MIB, save_on_stop=True)
    )
    await pool.driver.remove(PRIVATE.vid)
    assert list(await pool.driver.vids()) == ["appvms/work/private2"]
    assert await pool.driver.usage_bytes(PRIVATE.vid) == 0
    await pool.driver.remove("appvms/work/private2")
    if pool.dir_path is not None:
        assert not (pool.dir_path / "appvms" / "work").exists()


async def test_an_import_switches_at_its_end_and_not_before(pool: Pool) -> None:
    await pool.driver.create(PRIVATE)
    await run_guest(pool, PRIVATE, b"old")
    path = await pool.driver.import_begin(PRIVATE, 6 * MIB)
    assert path.stat().st_size == 6 * MIB
    path.write_bytes(b"new".ljust(6 * MIB, b"\0"))
    assert await read_committed(pool, PRIVATE, 3) == b"old"
    await pool.driver.import_end(PRIVATE, success=True)
    assert await pool.driver.size_bytes(PRIVATE) == 6 * MIB
    assert await read_committed(pool, PRIVATE, 3) == b"new"
    with pytest.raises(StorageError, match="no import was begun"):
        await pool.driver.import_end(PRIVATE, success=True)


async def test_a_failed_import_changes_nothing(pool: Pool) -> None:
    await pool.driver.create(PRIVATE)
    await run_guest(pool, PRIVATE, b"old")
    for _ in range(2):
        path = await pool.driver.import_begin(PRIVATE, MIB)
        path.write_bytes(b"half")
        path = await pool.driver.import_begin(PRIVATE, MIB)
        assert path.read_bytes() == bytes(MIB)
        await pool.driver.import_end(PRIVATE, success=False)
        await pool.driver.import_end(PRIVATE, success=False)
    assert await read_committed(pool, PRIVATE, 3) == b"old"
    assert await pool.driver.size_bytes(PRIVATE) == 4 * MIB


async def test_an_import_outlives_a_leftover_working_image(pool: Pool) -> None:
    await pool.driver.create(PRIVATE)
    image = await pool.driver.start(PRIVATE)
    pool.write(image.path, 0, b"crashed")
    path = await pool.driver.import_begin(PRIVATE, 4 * MIB)
    path.write_bytes(b"imported".ljust(4 * MIB, b"\0"))
    await pool.driver.import_end(PRIVATE, success=True)
    assert await read_committed(pool, PRIVATE, 8) == b"imported"


@pytest.mark.parametrize("volume", [VOLATILE, SNAPSHOT])
async def test_nothing_can_be_imported_to_what_keeps_nothing(
    pool: Pool, volume: VolumeSpec
) -> None:
    with pytest.raises(StorageError, match="keeps nothing"):
        await pool.driver.import_begin(volume, MIB)


@pytest.mark.parametrize("vid", ["../x/y", "/etc/passwd/z", "appvms/../private", "appvms/a", ""])
async def test_a_vid_leads_nowhere_else(pool: Pool, vid: str) -> None:
    volume = VolumeSpec(vid=vid, size_bytes=MIB, save_on_stop=True)
    snapshot = VolumeSpec(vid=PRIVATE.vid, size_bytes=MIB, source=vid, snap_on_start=True)
    driver = pool.driver
    for call in (
        driver.create(volume), driver.remove(vid), driver.start(volume), driver.stop(volume),
        driver.start(snapshot), driver.import_begin(volume, 1), driver.usage_bytes(vid),
        driver.import_end(volume, success=True), driver.size_bytes(volume),
    ):  # fmt: skip
        with pytest.raises(StorageError, match="volume id"):
            await call


async def test_sparse_volumes_stay_sparse(pool: Pool) -> None:
    big = VolumeSpec(vid="appvms/big/private", size_bytes=1024 * MIB, save_on_stop=True)
    await pool.driver.create(big)
    for offset in (0, 500 * MIB, 1024 * MIB - 4):
        image = await pool.driver.start(big)
        pool.write(image.path, offset, b"data")
        await pool.driver.stop(big)
    assert await pool.driver.size_bytes(big) == 1024 * MIB
    assert 0 < await pool.driver.usage_bytes(big.vid) < MIB
    usage = await pool.driver.usage()
    assert usage is not None
    assert 0 < usage.usage_bytes <= usage.size_bytes
    await pool.driver.remove(big.vid)


async def test_calls_on_different_volumes_run_together(pool: Pool) -> None:
    volumes = [
        VolumeSpec(vid=f"appvms/qube{i}/private", size_bytes=MIB, save_on_stop=True)
        for i in range(20)
    ]
    await asyncio.gather(*(pool.driver.create(volume) for volume in volumes))
    await asyncio.gather(*(run_guest(pool, volume, volume.vid.encode()) for volume in volumes))
    for volume in volumes:
        assert await read_committed(pool, volume, len(volume.vid)) == volume.vid.encode()
    assert len(await pool.driver.vids()) == 20


@pytest.mark.parametrize("pool", POOLS[1:], indirect=True)
async def test_files_are_private_and_directories_can_be_passed(pool: Pool) -> None:
    assert pool.dir_path is not None
    old = os.umask(0o077)
    try:
        await pool.driver.create(PRIVATE)
        image = await pool.driver.start(PRIVATE)
        await pool.driver.import_begin(PRIVATE, MIB)
    finally:
        os.umask(old)
    for path in (image.path, *(pool.dir_path / name for name in names(pool))):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for name in ("appvms", "appvms/work"):
        assert stat.S_IMODE((pool.dir_path / name).stat().st_mode) == 0o711
