"""What is done to volumes through their calls: limits, events, and who is in the way."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from qubeward.facts import VolumeCloned
from qubeward.model.volume import PRIVATE, ROOT, VOLATILE
from qubeward.ops.tokens import LIFETIME_S, Origin, Tokens
from qubeward.server.gate import Endpoint
from qubeward.wire.dialect import Dialect
from world import Made, made_world, populate

GIB = 1 << 30
INTERNAL = Endpoint(Dialect.R4, judged=True, internal=True)


@pytest.fixture
async def made(tmp_path: Path):
    async with made_world(root=tmp_path) as world:
        await populate(world)
        yield world


def size(made: Made, qube: str, volume: str = "private") -> int:
    return made.qube(qube).volumes[volume].size_bytes


async def fill(made: Made, qube: str, data: bytes, volume: str = "private") -> None:
    payload = b"%d\n%s" % (len(data), data)
    await made.ok("admin.vm.volume.ImportWithSize", qube, volume, payload)


def read(path: str) -> bytes:
    return Path(path).read_bytes()


async def content(made: Made, qube: str, volume: str = "private") -> bytes:
    reply = await made.ok("internal.vm.volume.ExportBegin", qube, volume, endpoint=INTERNAL)
    length, path = reply.split(" ", 1)
    data = read(path)
    assert len(data) == int(length)
    await made.ok("internal.vm.volume.ExportEnd", qube, volume, endpoint=INTERNAL)
    return data


# Resize.


async def test_snapshots_follow_their_source_and_larger_ones_stay_larger(made) -> None:
    await made.ok("admin.vm.volume.Resize", "work", "root", str(30 * GIB))
    assert size(made, "tpl", "root") == 10 * GIB
    await made.ok("admin.vm.volume.Resize", "tpl", "root", str(20 * GIB))
    assert size(made, "net", "root") == 20 * GIB
    assert size(made, "work", "root") == 30 * GIB
    await made.ok("admin.vm.volume.Resize", "tpl", "root", str(40 * GIB))
    assert size(made, "work", "root") == 40 * GIB


@pytest.mark.parametrize("volume", [ROOT, PRIVATE, VOLATILE])
async def test_a_running_guest_is_told_of_a_larger_disk(made, volume: str) -> None:
    await made.ok("admin.vm.Start", "work")
    await made.ok("admin.vm.volume.Resize", "work", volume, str(30 * GIB))
    assert ("resize_disk", made.qube("work").uuid) in made.hypervisor.calls
    assert size(made, "work", volume) == 30 * GIB


async def test_none_is_made_smaller_and_the_same_size_is_no_error(made) -> None:
    await made.ok("admin.vm.volume.Resize", "work", "private", str(2 * GIB))
    for small in ("0", "1", str(2 * GIB - 1)):
        refused = await made.refused("admin.vm.volume.Resize", "work", "private", small)
        assert refused.wire_name == "StoragePoolException"
    assert size(made, "work") == 2 * GIB


async def test_what_is_not_the_qubes_own_is_not_changed(made) -> None:
    for method, payload in (
        ("Resize", str(30 * GIB)), ("Clear", ""), ("Snapshot", ""), ("Revert", "1"),
    ):  # fmt: skip
        refused = await made.refused(f"admin.vm.volume.{method}", "work", "kernel", payload)
        assert refused.wire_name == "StoragePoolException"
        assert "kernel" in str(refused)
    for volume in ("root", "volatile"):
        refused = await made.refused("admin.vm.volume.Clear", "work", volume)
        assert "keeps nothing" in str(refused)


# Snapshots.


async def test_snapshots_come_from_stops_and_from_the_call(made) -> None:
    await fill(made, "work", b"one")
    listed = (await made.ok("admin.vm.volume.ListSnapshots", "work", "private")).split()
    assert len(listed) == 1
    await made.ok("admin.vm.volume.Set.revisions_to_keep", "work", "private", "5")
    named = await made.ok("admin.vm.volume.Snapshot", "work", "private")
    await fill(made, "work", b"two")
    found = (await made.ok("admin.vm.volume.ListSnapshots", "work", "private")).split()
    assert found == [*listed, named]
    times = await made.ok("admin.vm.volume.SnapshotTimes", "work", "private")
    assert [line.split()[0] for line in times.splitlines()] == found
    await made.ok("admin.vm.volume.Revert", "work", "private", named)
    assert await content(made, "work") == b"one"
    assert size(made, "work") == 3


async def test_a_running_qube_can_be_snapshotted_and_not_reverted(made) -> None:
    await fill(made, "work", b"one")
    await made.ok("admin.vm.Start", "work")
    named = await made.ok("admin.vm.volume.Snapshot", "work", "private")
    refused = await made.refused("admin.vm.volume.Revert", "work", "private", named)
    assert refused.wire_name == "StoragePoolException"
    assert "must be off" in str(refused)


async def test_a_volume_that_is_never_snapshotted_says_so(made) -> None:
    await made.ok("admin.vm.volume.Set.revisions_to_keep", "work", "private", "-1")
    refused = await made.refused("admin.vm.volume.Snapshot", "work", "private")
    assert "revisions_to_keep is -1" in str(refused)
    await made.ok("admin.vm.Start", "work")
    for verb, endpoint in (("ExportBegin", INTERNAL),):
        method = f"internal.vm.volume.{verb}"
        refused = await made.refused(method, "work", "private", endpoint=endpoint)
        assert refused.wire_name == "QubesVMInUseError"
    refused = await made.refused("admin.vm.Clone", "work", "", "name=copy")
    assert refused.wire_name == "QubesVMInUseError"
    assert "copy" not in made.system.qubes


async def test_disposables_do_not_start_from_what_is_being_written_to(made) -> None:
    await made.ok("admin.vm.volume.Set.revisions_to_keep", "base", "private", "-1")
    await made.ok("admin.vm.Start", "base")
    refused = await made.refused("admin.vm.Start", "disp")
    assert refused.wire_name == "QubesVMInUseError"
    await made.ok("admin.vm.Kill", "base")
    await made.ok("admin.vm.Start", "disp")
    refused = await made.refused("admin.vm.volume.Set.revisions_to_keep", "base", "private", "1")
    assert refused.wire_name == "QubesVMNotHaltedError"
    await made.ok("admin.vm.Kill", "disp")
    await made.ok("admin.vm.volume.Set.revisions_to_keep", "base", "private", "1")


# Clones of volumes.


async def test_a_token_is_good_once_and_only_for_what_it_was_given_for(made) -> None:
    await fill(made, "work", b"hello")
    token = await made.ok("admin.vm.volume.CloneFrom", "work", "private")
    assert len(token) == 32
    refused = await made.refused("admin.vm.volume.CloneTo", "net", "nosuch", token)
    assert refused.wire_name == "PermissionDenied"
    made.facts.clear()
    await made.ok("admin.vm.volume.CloneTo", "net", "private", token)
    assert VolumeCloned("net", PRIVATE, "appvms/work/private") in made.facts
    assert await content(made, "net") == b"hello"
    assert size(made, "net") == 5
    refused = await made.refused("admin.vm.volume.CloneTo", "net", "private", token)
    assert refused.wire_name == "QubesVolumeCopyTokenNotFoundError"


async def test_a_clone_goes_to_a_halted_qube_from_any(made) -> None:
    await fill(made, "work", b"hello")
    await made.ok("admin.vm.Start", "work")
    token = await made.ok("admin.vm.volume.CloneFrom", "work", "private")
    await made.ok("admin.vm.volume.CloneTo", "net", "private", token)
    assert await content(made, "net") == b"hello"
    token = await made.ok("admin.vm.volume.CloneFrom", "net", "private")
    refused = await made.refused("admin.vm.volume.CloneTo", "work", "private", token)
    assert refused.wire_name == "QubesVMNotHaltedError"


async def test_a_token_of_a_qube_that_is_gone_is_of_no_use(made) -> None:
    token = await made.ok("admin.vm.volume.CloneFrom", "alone", "private")
    await made.ok("admin.vm.Remove", "alone")
    await made.create("alone", "StandaloneVM")
    refused = await made.refused("admin.vm.volume.CloneTo", "work", "private", token)
    assert refused.wire_name == "QubesVMNotFoundError"


def test_tokens_are_forgotten_in_time_and_never_too_many() -> None:
    now = [0.0]
    tokens = Tokens(lambda: now[0])
    origin = Origin(None, PRIVATE)  # type: ignore[arg-type]
    first = tokens.give(origin)
    now[0] = LIFETIME_S - 1
    second = tokens.give(origin)
    now[0] = LIFETIME_S + 1
    with pytest.raises(Exception, match="No such token"):
        tokens.take(first)
    assert tokens.take(second) is origin
    given = [tokens.give(origin) for _ in range(5000)]
    assert len(tokens._given) == 4096
    assert tokens.take(given[-1]) is origin


# Settings.


async def test_rw_changes_while_the_qube_is_off(made) -> None:
    await made.ok("admin.vm.volume.Set.rw", "work", "private", "no")
    assert made.qube("work").volumes[PRIVATE].rw is False
    await made.ok("admin.vm.volume.Set.rw", "work", "kernel", "True")
    info = await made.ok("admin.vm.volume.Info", "work", "kernel")
    assert "rw=False\n" in info
    await made.ok("admin.vm.Start", "work")
    refused = await made.refused("admin.vm.volume.Set.rw", "work", "private", "yes")
    assert refused.wire_name == "QubesVMNotHaltedError"


async def test_only_volatile_volumes_are_ephemeral(made) -> None:
    await made.ok("admin.vm.volume.Set.ephemeral", "work", "volatile", "True")
    assert "ephemeral=True\n" in await made.ok("admin.vm.volume.Info", "work", "volatile")
    for volume in ("root", "private", "kernel"):
        refused = await made.refused("admin.vm.volume.Set.ephemeral", "work", volume, "True")
        assert refused.wire_name == "QubesValueError"
    await made.ok("admin.vm.volume.Set.rw", "net", "volatile", "False")
    await made.refused("admin.vm.volume.Set.ephemeral", "net", "volatile", "True")
    await made.ok("admin.vm.Start", "work")
    refused = await made.refused("admin.vm.volume.Set.ephemeral", "work", "volatile", "False")
    assert refused.wire_name == "QubesVMNotHaltedError"


@pytest.mark.parametrize("volume", ["root", "private", "volatile"])
async def test_no_volume_grows_beyond_what_a_file_can_hold(made, volume: str) -> None:
    before = size(made, "work", volume)
    for much in (16 << 40, (1 << 63) - 1):
        refused = await made.refused("admin.vm.volume.Resize", "work", volume, str(much))
        assert "no volume is larger than" in str(refused)
    assert size(made, "work", volume) == before


async def test_a_pool_says_of_its_volatile_volumes_what_they_do_not_say_themselves(made) -> None:
    await made.ok("admin.pool.Set.ephemeral_volatile", "dom0", "varlibqubes", "yes")
    info = "admin.vm.volume.Info"
    assert "ephemeral=True\n" in await made.ok(info, "work", "volatile")
    assert "ephemeral=False\n" in await made.ok(info, "work", "private")
    await made.ok("admin.vm.volume.Set.ephemeral", "work", "volatile", "no")
    assert "ephemeral=False\n" in await made.ok(info, "work", "volatile")


async def test_a_started_snapshot_is_outdated_once_its_template_has_changed(made) -> None:
    info = "admin.vm.volume.Info"
    assert "is_outdated=False\n" in await made.ok(info, "work", "root")
    await made.ok("admin.vm.Start", "work")
    assert "is_outdated=False\n" in await made.ok(info, "work", "root")
    await fill(made, "tpl", b"new", "root")
    assert "is_outdated=True\n" in await made.ok(info, "work", "root")
    await made.ok("admin.vm.Kill", "work")
    assert "is_outdated=False\n" in await made.ok(info, "work", "root")


# Exports.


async def test_readers_of_one_volume_share_an_export(made) -> None:
    await fill(made, "work", b"hello")
    begin, end = "internal.vm.volume.ExportBegin", "internal.vm.volume.ExportEnd"
    replies = await asyncio.gather(
        *(made.ok(begin, "work", "private", endpoint=INTERNAL) for _ in range(5))
    )
    assert len(set(replies)) == 1
    path = replies[0].split(" ")[1]
    for _ in range(4):
        await made.ok(end, "work", "private", endpoint=INTERNAL)
    assert read(path) == b"hello"
    await made.ok(end, "work", "private", endpoint=INTERNAL)
    assert not made.world.exports
    await made.ok(end, "work", "private", endpoint=INTERNAL)
    refused = await made.refused(begin, "work", "volatile", endpoint=INTERNAL)
    assert refused.wire_name == "StoragePoolException"
    assert not made.world.exports


async def test_a_driver_that_fails_half_way_leaves_the_model_as_the_disk_is(made) -> None:
    driver = made.world.pools.driver("varlibqubes")
    revert = driver.revert

    async def fails_after(volume, revision) -> None:
        await revert(volume, revision)
        raise OSError("the test said so")

    await fill(made, "work", b"one")
    driver.revert = fails_after
    refused = await made.refused("admin.vm.volume.Revert", "work", "private", "1")
    assert "Internal error" in str(refused)
    assert size(made, "work") == 2 * GIB, "as the revision was"
    spec = made.world.pools.spec(made.qube("work").volumes[PRIVATE])
    assert await driver.size_bytes(spec) == size(made, "work")
    assert replace(spec, size_bytes=0).vid == "appvms/work/private"
