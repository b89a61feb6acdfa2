"""Pools come, go, fill up, and are missing."""

import asyncio
import json
from pathlib import Path

import pytest

from qubeward.errors import StorageError
from qubeward.facts import PoolAdded, PoolRemoved, PoolRemoving, PoolSpace, PoolUsable
from qubeward.model.pool import Pool
from qubeward.ops.space import FULL, LOW, OK, SpaceWatch, state_of
from qubeward.spec.vm_body import PowerState
from qubeward.storage.driver import Usage
from world import Made, made_world

MIB = 1 << 20


@pytest.fixture
async def made(tmp_path: Path):
    async with made_world(root=tmp_path) as world:
        await world.create("tpl", "TemplateVM")
        await world.create("work", template="tpl")
        yield world


async def add(made: Made, name: str = "ssd", *more: str, driver: str = "file") -> None:
    options = "\n".join((f"name={name}", f"dir_path=/srv/{name}", *more))
    await made.ok("admin.pool.Add", "dom0", driver, options)


async def test_a_pool_is_told_of_as_it_comes_and_goes(made) -> None:
    made.facts.clear()
    await add(made)
    assert made.facts == [PoolAdded(None, "ssd")]
    assert (made.world.root / "srv/ssd/appvms").is_dir()
    made.facts.clear()
    await made.ok("admin.pool.Remove", "dom0", "ssd")
    assert made.facts == [PoolRemoving(None, "ssd"), PoolRemoved(None, "ssd")]
    assert not (made.world.root / "srv/ssd").exists()


async def test_what_is_in_the_directory_of_a_removed_pool_stays(made) -> None:
    await add(made)
    mine = made.world.root / "srv/ssd/mine"
    mine.write_text("x")
    await made.ok("admin.pool.Remove", "dom0", "ssd")
    assert mine.read_text() == "x"


async def test_a_pool_that_can_not_be_set_up_is_none(made) -> None:
    (made.world.root / "srv").write_text("a file")
    options = "name=ssd\ndir_path=/srv/ssd"
    refused = await made.refused("admin.pool.Add", "dom0", "file", options)
    assert refused.wire_name == "StoragePoolException"
    assert "ssd" not in made.system.pools
    assert not made.world.new_pools
    assert not made.world.pools.broken


async def test_pools_may_be_inside_one_another_and_not_in_the_same_place(made) -> None:
    await add(made, "outer")
    await add(made, "other")
    inner = "name=inner\ndir_path=/srv/outer/deep/inner"
    await made.ok("admin.pool.Add", "dom0", "file", inner)
    info = await made.ok("admin.pool.Info", "dom0", "inner")
    assert "included_in=outer\n" in info
    assert "included_in" not in await made.ok("admin.pool.Info", "dom0", "other")
    for same in ("/srv/outer", "/srv/outer/", "//srv/outer"):
        refused = await made.refused("admin.pool.Add", "dom0", "file", f"name=x\ndir_path={same}")
        assert "it is that of the pool outer" in str(refused)


@pytest.mark.parametrize("default", ["default_pool", "default_pool_private"])
async def test_a_pool_that_is_a_default_is_not_removed(made, default: str) -> None:
    await add(made)
    await made.ok("admin.property.Set", "dom0", default, "ssd")
    refused = await made.refused("admin.pool.Remove", "dom0", "ssd")
    assert refused.wire_name == "QubesPoolInUseError"
    assert default in str(refused)


async def test_new_volumes_keep_as_many_snapshots_as_their_pool_says(made) -> None:
    await add(made, "ssd", "revisions_to_keep=0")
    payload = "name=new label=red pool:private=ssd"
    await made.ok("admin.vm.CreateInPool.AppVM", "dom0", "tpl", payload)
    assert made.qube("new").volumes["private"].revisions_to_keep == 0
    assert made.qube("new").volumes["volatile"].revisions_to_keep == 1
    refused = await made.refused("admin.pool.Set.revisions_to_keep", "dom0", "ssd", "2")
    assert refused.wire_name == "QubesValueError"
    refused = await made.refused("admin.vm.volume.Set.revisions_to_keep", "new", "private", "2")
    assert refused.wire_name == "QubesValueError"
    refused = await made.refused("admin.pool.Set.revisions_to_keep", "dom0", "linux-kernel", "0")
    assert "has no revisions_to_keep" in str(refused)


# Space.


def usage(free: int, size: int = 10_000 * MIB, **more: int) -> Usage:
    return Usage(size_bytes=size, usage_bytes=size - free, **more)


def test_a_pool_is_low_and_then_full() -> None:
    pool = Pool("p", "file", {"warn_percent": "80", "floor_mib": "50"})
    assert state_of(pool, usage(2001 * MIB)) == OK
    assert state_of(pool, usage(2000 * MIB)) == LOW
    assert state_of(pool, usage(50 * MIB)) == LOW
    assert state_of(pool, usage(50 * MIB - 1)) == FULL
    metadata = {"metadata_size_bytes": 100, "metadata_usage_bytes": 85}
    assert state_of(pool, usage(9000 * MIB, **metadata)) == LOW
    assert state_of(pool, Usage(size_bytes=0, usage_bytes=0)) == FULL
    small = Pool("p", "file", {})
    assert state_of(small, usage(5 * MIB, 100 * MIB)) == LOW
    assert state_of(small, usage(5 * MIB - 1, 100 * MIB)) == FULL


def full(made: Made, free: int, name: str = "varlibqubes") -> None:
    async def told() -> Usage:
        return usage(free)

    made.world.pools.driver(name).usage = told


async def test_below_its_floor_nothing_is_started_created_or_imported(made) -> None:
    full(made, 127 * MIB)
    for method, dest, arg, payload in (
        ("admin.vm.Start", "work", "", ""),
        ("admin.vm.Create.AppVM", "dom0", "tpl", "name=new label=red"),
        ("admin.vm.Clone", "work", "", "name=new"),
        ("admin.vm.CreateTemplate", "dom0", "new", "x"),
        ("admin.vm.volume.ImportWithSize", "work", "private", "1\nx"),
    ):
        refused = await made.refused(method, dest, arg, payload)
        assert "127 MiB are free, less than its floor of 128 MiB" in str(refused), method
    assert "new" not in made.system.qubes
    assert made.qube("work").power.is_halted
    full(made, 128 * MIB)
    await made.ok("admin.vm.Start", "work")


async def test_a_change_of_free_space_is_told_once(made) -> None:
    watch = SpaceWatch(made.world)
    made.facts.clear()
    for free, state in ((9990, None), (50, "full"), (49, None), (500, "low"), (9000, "ok")):
        full(made, free * MIB)
        await watch.look()
        told = [fact.state for fact in made.facts if isinstance(fact, PoolSpace)]
        if state is not None:
            assert told[-1] == state
        made.facts.clear()
    stream = made.subscribe()
    full(made, 1 * MIB)
    await watch.look()
    (event,) = [e for e in stream.events if e.name == "pool-space"]
    assert dict(event.fields) == {
        "pool": "varlibqubes", "state": "full", "size": str(10_000 * MIB), "usage": str(9999 * MIB),
    }  # fmt: skip


async def test_a_pool_whose_usage_can_not_be_told_stops_nobody_from_looking(made) -> None:
    async def fails() -> Usage:
        raise StorageError("pool", "the test said so")

    made.world.pools.driver("varlibqubes").usage = fails
    await SpaceWatch(made.world).look()


@pytest.mark.parametrize("driver", ["file", "qcow2"])
async def test_a_pool_that_goes_away_while_it_is_open_is_told_of_once_and_so_is_its_return(
    tmp_path: Path, driver: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with made_world(root=tmp_path, driver=driver) as made:
        await made.create("tpl", "TemplateVM")
        await made.create("work", template="tpl")
        await add(made, driver=driver)
        await made.ok("admin.vm.CreateInPool.AppVM", "dom0", "tpl", "name=away label=red pool=ssd")
        here, elsewhere = tmp_path / "srv/ssd", tmp_path / "srv/elsewhere"
        here.rename(elsewhere)
        here.mkdir()  # where it was mounted
        refused = await made.refused(
            "admin.vm.CreateInPool.AppVM", "dom0", "tpl", "name=x label=red pool=ssd"
        )
        assert "mounted?" in str(refused)
        assert not list(here.iterdir()), "nothing is made in its place"

        watch = SpaceWatch(made.world)
        made.facts.clear()
        await watch.look()
        await watch.look()
        (told,) = [fact for fact in made.facts if isinstance(fact, PoolUsable)]
        assert "mounted?" in told.reason
        assert caplog.text.count("pool ssd can't be used: pool directory") == 1
        assert made.qube("away").state is PowerState.NA
        assert made.qube("work").state is PowerState.HALTED
        assert "mounted?" in await made.ok("admin.pool.Info", "dom0", "ssd")
        await made.refused("admin.vm.Start", "away")
        await made.ok("admin.vm.Start", "work")

        here.rmdir()
        elsewhere.rename(here)
        made.facts.clear()
        await watch.look()
        assert [f for f in made.facts if isinstance(f, PoolUsable)] == [PoolUsable(None, "ssd", "")]
        await made.ok("admin.vm.Start", "away")


# Pools that are missing.


async def test_a_missing_pool_quarantines_its_qubes_and_no_others(tmp_path: Path) -> None:
    async with made_world(root=tmp_path, driver="file") as made:
        await made.create("tpl", "TemplateVM")
        await made.create("work", template="tpl")
        await add(made)
        payload = "name=away label=red pool:private=ssd"
        await made.ok("admin.vm.CreateInPool.AppVM", "dom0", "tpl", payload)
        away = tmp_path / "srv/elsewhere"
        (tmp_path / "srv/ssd").rename(away)
        pools = made.world.pools
        driver = pools._drivers.pop("ssd")
        await driver.close()
        await pools.open_all()

        assert made.qube("away").state is PowerState.NA
        assert made.qube("work").state is PowerState.HALTED
        assert "away class=AppVM state=NA" in await made.ok("admin.vm.List")
        refused = await made.refused("admin.vm.Start", "away")
        assert "is its file system mounted?" in str(refused)
        await made.ok("admin.vm.Start", "work")
        info = await made.ok("admin.pool.Info", "dom0", "ssd")
        assert "trouble=" in info
        assert "mounted" in info
        refused = await made.refused("admin.pool.UsageDetails", "dom0", "ssd")
        assert refused.wire_name == "StoragePoolException"
        refused = await made.refused(
            "admin.vm.CreateInPool.AppVM", "dom0", "tpl", "name=x label=red pool=ssd"
        )
        assert refused.wire_name == "StoragePoolException"
        assert not (tmp_path / "srv/ssd").exists(), "nothing is made in its place"

        watch = SpaceWatch(made.world)
        await watch.look()
        assert made.qube("away").state is PowerState.NA
        away.rename(tmp_path / "srv/ssd")
        made.facts.clear()
        await watch.look()
        assert PoolUsable(None, "ssd", "") in made.facts
        assert made.qube("away").state is PowerState.HALTED
        await made.ok("admin.vm.Start", "away")


async def test_what_a_guest_left_in_a_pool_that_went_away_is_put_away_when_it_is_back(
    tmp_path: Path,
) -> None:
    async with made_world(root=tmp_path, driver="file") as made:
        await made.create("tpl", "TemplateVM")
        await add(made)
        payload = "name=away label=red pool=ssd"
        await made.ok("admin.vm.CreateInPool.AppVM", "dom0", "tpl", payload)
        await made.ok("admin.vm.Start", "away")
        here, elsewhere = tmp_path / "srv/ssd", tmp_path / "srv/elsewhere"
        (here / "appvms/away/private-dirty.img").write_bytes(b"written by its guest")
        here.rename(elsewhere)
        pools = made.world.pools
        await pools._drivers.pop("ssd").close()
        await pools.open_all()
        await made.ok("admin.vm.Kill", "away")
        elsewhere.rename(here)

        await SpaceWatch(made.world).look()
        async with asyncio.timeout(10):
            while list((here / "appvms/away").glob("*-dirty.img")):  # noqa: ASYNC110  # a file tells nobody
                await asyncio.sleep(0.01)
        assert (here / "appvms/away/private.img").read_bytes() == b"written by its guest"


@pytest.mark.parametrize("driver", ["file", "qcow2"])
async def test_a_pool_that_is_away_takes_no_change_and_loses_nothing(
    tmp_path: Path, driver: str
) -> None:
    async with made_world(root=tmp_path, driver=driver) as made:
        await made.create("tpl", "TemplateVM")
        await add(made, driver=driver)
        for name in ("halted", "runs"):
            payload = f"name={name} label=red pool=ssd"
            await made.ok("admin.vm.CreateInPool.AppVM", "dom0", "tpl", payload)
        await made.ok("admin.vm.Start", "runs")
        here, elsewhere = tmp_path / "srv/ssd", tmp_path / "srv/elsewhere"
        (written,) = (here / "appvms/runs").glob("private-dirty*")
        if driver == "qcow2":
            with written.open("ab") as overlay:
                overlay.write(b"Z" * 65536)
        else:
            written.write_bytes(b"written by its guest")
        here.rename(elsewhere)
        here.mkdir()
        size = made.qube("halted").volumes["private"].size_bytes
        for call in (
            ("admin.vm.volume.Clear", "halted", "private", ""),
            ("admin.vm.volume.Resize", "halted", "private", str(size + 4096)),
            ("admin.vm.volume.Snapshot", "halted", "private", ""),
            ("admin.vm.Remove", "halted", "", ""),
        ):
            assert "mounted?" in str(await made.refused(*call)), call
        await made.ok("admin.vm.Kill", "runs")
        assert made.qube("halted").volumes["private"].size_bytes == size
        assert not list(here.iterdir()), "nothing is made in its place"
        await SpaceWatch(made.world).look()

        here.rmdir()
        elsewhere.rename(here)
        before = written.stat().st_ino
        await SpaceWatch(made.world).look()
        async with asyncio.timeout(10):
            while written.exists():  # noqa: ASYNC110  # a file tells nobody
                await asyncio.sleep(0.01)
        kept = here / ("appvms/runs/private.img" if driver == "file" else "layers")
        kept_inodes = [
            path.stat().st_ino for path in ([kept] if kept.is_file() else kept.iterdir())
        ]
        assert before in kept_inodes, "what its guest wrote is the volume"
        await made.ok("admin.vm.Start", "runs")
        await made.ok("admin.vm.Remove", "halted")


async def test_a_qube_of_a_pool_that_nobody_knows_is_quarantined(made) -> None:
    made.system.pools.pop("varlibqubes")
    made.world.pools._drivers.pop("varlibqubes")
    made.world.pools.note_trouble()
    assert made.qube("work").state is PowerState.NA
    assert "there is no such pool" in str(await made.refused("admin.vm.Start", "work"))


# Hooks around a driver.


def write_hooks(root: Path, **entry: object) -> Path:
    """Write the file that says which hooks run; return where they write what they were told."""
    said = root / "said"
    program = root / "hook"
    program.write_text(f'#!/bin/sh\necho "$QUBEWARD_HOOK $QUBEWARD_VID" >> {said}\n')
    program.chmod(0o755)
    path = root / "etc/qubes_callback.json"
    path.parent.mkdir()
    found = {"bdriver": "file", "bdriver_args": {"dir_path": "/srv/vault"}, "cmd": str(program)}
    path.write_text(json.dumps({"vault": {**found, **entry}}))
    path.chmod(0o600)
    return said


async def test_a_pool_may_have_hooks(tmp_path: Path) -> None:
    said = write_hooks(tmp_path)
    async with made_world(root=tmp_path) as made:
        await made.create("tpl", "TemplateVM")
        await made.ok("admin.pool.Add", "dom0", "callback", "name=vault\nconf_id=vault")
        payload = "name=secret label=red pool:private=vault"
        await made.ok("admin.vm.CreateInPool.AppVM", "dom0", "tpl", payload)
        assert (tmp_path / "srv/vault/appvms/secret/private.img").exists()
        await made.ok("admin.vm.Start", "secret")
        await made.ok("admin.vm.Kill", "secret")
        refused = await made.refused(
            "admin.vm.volume.Set.revisions_to_keep", "secret", "private", "2"
        )
        assert "up to 1" in str(refused), "of the driver behind"
        await made.ok("admin.vm.Remove", "secret")
        await made.ok("admin.pool.Remove", "dom0", "vault")
        assert not (tmp_path / "srv/vault").exists()
    words = said.read_text().split("\n")
    vid = "appvms/secret/private"
    assert [word.strip() for word in words if word] == [
        "pre_setup", "post_setup", f"pre_volume_create {vid}", f"post_volume_create {vid}",
        f"pre_volume_start {vid}", f"post_volume_start {vid}", f"pre_volume_stop {vid}",
        f"post_volume_stop {vid}", f"pre_volume_remove {vid}", f"post_volume_remove {vid}",
        "pre_destroy", "post_destroy",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"bdriver": "none"}, "there is no driver"),
        ({"bdriver": "memory"}, "there is no driver"),
        ({"bdriver_args": {"dir_path": "relative"}}, "absolute"),
        ({"bdriver_args": {}}, "dir_path"),
        ({"cmd": "hook"}, "absolute path"),
        ({"pre_setup": "/bin/false"}, "pre_setup of vault: exit status 1"),
    ],
)
async def test_hooks_that_make_no_sense_make_no_pool(
    tmp_path: Path, entry: dict[str, object], why: str
) -> None:
    write_hooks(tmp_path, **entry)
    async with made_world(root=tmp_path) as made:
        refused = await made.refused(
            "admin.pool.Add", "dom0", "callback", "name=vault\nconf_id=vault"
        )
        assert why in str(refused)
        assert "vault" not in made.system.pools
        assert not made.backend.load().get("journal")


async def test_a_pool_behind_hooks_has_a_place_of_its_own(tmp_path: Path) -> None:
    options = {"dir_path": "/srv/ssd"}
    write_hooks(tmp_path, bdriver="qcow2", bdriver_args=options, cmd="-")
    async with made_world(root=tmp_path) as made:
        await made.ok("admin.pool.Add", "dom0", "qcow2", "name=ssd\ndir_path=/srv/ssd")
        before = sorted((tmp_path / "srv/ssd").iterdir())
        refused = await made.refused(
            "admin.pool.Add", "dom0", "callback", "name=vault\nconf_id=vault"
        )
        assert "it is that of the pool ssd" in str(refused)
        assert sorted((tmp_path / "srv/ssd").iterdir()) == before, "its undo clears nothing"
        (tmp_path / "srv/link").symlink_to("ssd")
        refused = await made.refused(
            "admin.pool.Add", "dom0", "qcow2", "name=other\ndir_path=/srv/link"
        )
        assert "it is that of the pool ssd" in str(refused)
        assert sorted((tmp_path / "srv/ssd").iterdir()) == before
        await made.ok("admin.pool.Remove", "dom0", "ssd")
        await made.ok("admin.pool.Add", "dom0", "callback", "name=vault\nconf_id=vault")


async def test_two_pools_that_are_added_at_once_do_not_share_a_place(tmp_path: Path) -> None:
    async with made_world(root=tmp_path) as made:
        added = [
            made.call("admin.pool.Add", "dom0", "qcow2", f"name={name}\ndir_path=/srv/ssd")
            for name in ("one", "two")
        ]
        answers = await asyncio.gather(*added)
        assert sorted(type(answer).__name__ for answer in answers) == ["Failure", "Ok"]
        assert len({"one", "two"} & made.system.pools.keys()) == 1
        assert (tmp_path / "srv/ssd/layers").is_dir()


async def test_a_pool_whose_hooks_are_gone_can_be_removed(tmp_path: Path) -> None:
    write_hooks(tmp_path)
    async with made_world(root=tmp_path) as made:
        await made.ok("admin.pool.Add", "dom0", "callback", "name=vault\nconf_id=vault")
        (tmp_path / "etc/qubes_callback.json").unlink()
        await made.world.pools._drivers.pop("vault").close()
        await made.world.pools.open_all()
        assert "qubes_callback.json" in made.world.pools.trouble("vault")
        await made.ok("admin.pool.Remove", "dom0", "vault")
        assert "vault" not in made.system.pools
        assert (tmp_path / "srv/vault").exists()
