"""Making and removing qubes: what each class gets, and what others do meanwhile."""

import asyncio

import pytest

from qubeward import facts
from qubeward.errors import (
    AdminError,
    BadValueError,
    NotHaltedError,
    PropertyValueError,
    QubeExistsError,
    QubeInUseError,
    QubeNotFoundError,
    StorageError,
    StoreError,
)
from qubeward.model.volume import PRIVATE, ROOT, VOLATILE
from qubeward.names import ADMIN, QubeName
from qubeward.ops.create import create, remove
from qubeward.ops.start import start
from qubeward.spec.classes import CLASSES
from qubeward.spec.new_qube import NewQube
from world import Made, made_world, populate

GIB = 1 << 30


@pytest.fixture
async def made():
    async with made_world() as world:
        await populate(world)
        yield world


def creation(made: Made, name: str, klass: str = "AppVM", template: str | None = "tpl"):
    chosen = None if template is None else QubeName(template)
    return create(made.world, ADMIN, CLASSES[klass], chosen, NewQube(QubeName(name), "red"))


async def vids(made: Made) -> set[str]:
    return set(await made.world.pools.driver("varlibqubes").vids())


def slow_pool(made: Made) -> asyncio.Event:
    """Make the pool wait in `create`; return what lets it go on."""
    go_on = asyncio.Event()
    driver = made.world.pools.driver("varlibqubes")
    at_once = driver.create

    async def slow(volume) -> None:
        await go_on.wait()
        await at_once(volume)

    driver.create = slow
    return go_on


VOLUMES = [
    # class, volume, GiB, saved, snapshot, source
    ("TemplateVM", ROOT, 10, True, False, None),
    ("TemplateVM", PRIVATE, 2, True, False, None),
    ("TemplateVM", VOLATILE, 10, False, False, None),
    ("StandaloneVM", ROOT, 10, True, False, None),
    ("StandaloneVM", PRIVATE, 2, True, False, None),
    ("AppVM", ROOT, 10, False, True, "vm-templates/tpl/root"),
    ("AppVM", PRIVATE, 2, True, False, None),
    ("AppVM", VOLATILE, 10, False, False, None),
    ("DispVM", ROOT, 10, False, True, "vm-templates/tpl/root"),
    ("DispVM", PRIVATE, 2, False, True, "appvms/base/private"),
    ("DispVM", VOLATILE, 12, False, False, None),
]
TEMPLATES = {"AppVM": "tpl", "DispVM": "base"}


@pytest.mark.parametrize(("klass", "name", "gib", "saved", "snapshot", "source"), VOLUMES)
async def test_each_class_gets_its_volumes(made, klass, name, gib, saved, snapshot, source) -> None:
    qube = await creation(made, "new", klass, TEMPLATES.get(klass))
    assert list(qube.volumes) == [ROOT, PRIVATE, VOLATILE]
    volume = qube.volumes[name]
    folder = "vm-templates" if klass == "TemplateVM" else "appvms"
    assert volume.vid == f"{folder}/new/{name}"
    assert (volume.size_bytes, volume.save_on_stop) == (gib * GIB, saved)
    assert (volume.snap_on_start, volume.source) == (snapshot, source)
    assert (volume.vid in await vids(made)) == saved


async def test_a_remote_qube_has_no_volumes(made) -> None:
    qube = await creation(made, "new", "RemoteVM", None)
    assert qube.volumes == {}


async def test_a_new_qube_is_told_of_with_its_tags(made) -> None:
    made.facts.clear()
    qube = await creation(made, "new")
    assert made.facts[0] == facts.QubeCreated("new", ADMIN)
    assert qube.tags == {"created-by-dom0", "guivm-dom0", "audiovm-dom0"}


@pytest.mark.parametrize(
    ("klass", "template", "error"),
    [
        ("AppVM", "nobody", QubeNotFoundError),
        ("AppVM", "work", PropertyValueError),
        ("AppVM", None, BadValueError),
        ("DispVM", "work", BadValueError),
        ("DispVM", "tpl", BadValueError),
        ("DispVM", None, BadValueError),
    ],
)
async def test_a_template_that_will_not_do_is_refused(made, klass, template, error) -> None:
    with pytest.raises(error):
        await creation(made, "new", klass, template)
    assert "new" not in made.system.qubes
    assert not made.world.reserved


async def test_no_template_means_the_default_one(made) -> None:
    await made.ok("admin.property.Set", "dom0", "default_template", "tpl")
    await made.ok("admin.property.Set", "dom0", "default_dispvm", "base")
    assert (await creation(made, "new", "AppVM", None)).properties["template"] == "tpl"
    assert (await creation(made, "new2", "DispVM", None)).properties["template"] == "base"


async def test_a_name_is_taken_from_the_first_moment(made) -> None:
    go_on = slow_pool(made)
    first = asyncio.ensure_future(creation(made, "new"))
    await asyncio.sleep(0.01)
    with pytest.raises(QubeExistsError):
        await creation(made, "new")
    go_on.set()
    await first
    with pytest.raises(QubeExistsError):
        await creation(made, "new")


async def test_many_made_at_once_have_numbers_of_their_own(made) -> None:
    go_on = slow_pool(made)
    apps = [asyncio.ensure_future(creation(made, f"a{n}")) for n in range(5)]
    disps = [asyncio.ensure_future(creation(made, f"d{n}", "DispVM", "base")) for n in range(5)]
    await asyncio.sleep(0)
    go_on.set()
    qubes = await asyncio.gather(*apps, *disps)
    assert len({qube.qid for qube in qubes}) == 10
    assert all(qube.properties["qid"] == qube.qid for qube in qubes)
    dispids = {qube.properties["dispid"] for qube in qubes if qube.klass.name == "DispVM"}
    assert len(dispids) == 5
    assert made.qube("disp").properties["dispid"] not in dispids


async def test_the_number_of_a_removed_disposable_is_not_given_again_soon(made) -> None:
    disp = await creation(made, "d", "DispVM", "base")
    number = disp.properties["dispid"]
    await remove(made.world, disp)
    assert (await creation(made, "d", "DispVM", "base")).properties["dispid"] == number + 1


async def test_a_template_removed_meanwhile_fails_the_creation(made) -> None:
    await made.create("tpl2", "TemplateVM")
    go_on = slow_pool(made)
    creating = asyncio.ensure_future(creation(made, "new", template="tpl2"))
    await asyncio.sleep(0.01)
    await remove(made.world, made.qube("tpl2"))
    go_on.set()
    with pytest.raises(QubeNotFoundError):
        await creating
    assert "new" not in made.system.qubes
    assert not any("/new/" in vid for vid in await vids(made))


async def test_a_label_removed_meanwhile_fails_the_creation(made) -> None:
    await made.ok("admin.label.Create", "dom0", "mine", "0x010203")
    go_on = slow_pool(made)
    new = NewQube(QubeName("new"), "mine")
    template = QubeName("tpl")
    creating = asyncio.ensure_future(create(made.world, ADMIN, CLASSES["AppVM"], template, new))
    await asyncio.sleep(0.01)
    await made.ok("admin.label.Remove", "dom0", "mine")
    go_on.set()
    with pytest.raises(AdminError):
        await creating
    assert "new" not in made.system.qubes


async def test_a_pool_that_fails_leaves_no_half_qube(made) -> None:
    driver = made.world.pools.driver("varlibqubes")
    at_once = driver.create

    async def broken(volume) -> None:
        await at_once(volume)
        if volume.vid.endswith("private"):
            raise StorageError(volume.vid, "no room")

    driver.create = broken
    with pytest.raises(StorageError):
        await creation(made, "new", "StandaloneVM", None)
    assert "new" not in made.system.qubes
    assert not any("/new/" in vid for vid in await vids(made))
    driver.create = at_once
    await creation(made, "new", "StandaloneVM", None)


async def test_a_creation_that_cannot_be_stored_leaves_nothing(made) -> None:
    go_on = slow_pool(made)
    creating = asyncio.ensure_future(creation(made, "new", "StandaloneVM", None))
    await asyncio.sleep(0.01)
    made.backend.failing = "disk full"
    go_on.set()
    with pytest.raises(StoreError):
        await creating
    assert "new" not in made.system.qubes
    assert not any("/new/" in vid for vid in await vids(made))


async def test_a_creation_cancelled_after_it_landed_stays_landed(made) -> None:
    landed = asyncio.Event()
    submit = made.backend.submit

    def late(commit) -> None:
        if any(write.table == "qube" for write in commit.writes):
            landed.set()
            asyncio.get_running_loop().call_later(0.05, submit, commit)
        else:
            submit(commit)

    made.backend.submit = late
    creating = asyncio.ensure_future(creation(made, "new", "StandaloneVM", None))
    await landed.wait()
    creating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await creating
    await asyncio.sleep(0.06)
    assert "new" in made.system.qubes
    assert "appvms/new/root" in await vids(made)


async def test_removal_takes_the_volumes_too(made) -> None:
    made.facts.clear()
    await remove(made.world, made.qube("work"))
    assert "work" not in made.system.qubes
    assert not any("/work/" in vid for vid in await vids(made))
    told = [type(fact).__name__ for fact in made.facts if fact.subject == "work"]
    assert told == ["QubeRemoving", "QubeRemoved", "VolumesRemoved"]
    await made.create("work", "AppVM", template="tpl")


async def test_dom0_cannot_be_removed(made) -> None:
    with pytest.raises(QubeInUseError):
        await remove(made.world, made.system.admin)


async def test_a_running_qube_cannot_be_removed(made) -> None:
    await start(made.world, made.qube("work"))
    with pytest.raises(NotHaltedError):
        await remove(made.world, made.qube("work"))


async def test_a_qube_of_a_package_cannot_be_removed(made) -> None:
    await made.ok("admin.vm.property.Set", "work", "installed_by_rpm", "True")
    with pytest.raises(QubeInUseError):
        await remove(made.world, made.qube("work"))


@pytest.mark.parametrize(
    ("holder", "prop"),
    [
        ("alone", "netvm"),
        ("alone", "guivm"),
        ("alone", "audiovm"),
        ("far", "relayvm"),
        ("dom0", "default_netvm"),
        ("dom0", "clockvm"),
        ("dom0", "updatevm"),
        ("dom0", "default_guivm"),
    ],
)
async def test_what_others_refer_to_cannot_be_removed(made, holder, prop) -> None:
    method = "admin.property" if holder == "dom0" else "admin.vm.property"
    await made.ok(f"{method}.Set", holder, prop, "net")
    with pytest.raises(QubeInUseError, match=prop):
        await remove(made.world, made.qube("net"))
    await made.ok(f"{method}.Reset", holder, prop)
    await remove(made.world, made.qube("net"))


@pytest.mark.parametrize("name", ["tpl", "base"])
async def test_a_template_in_use_cannot_be_removed(made, name) -> None:
    with pytest.raises(QubeInUseError, match="template"):
        await remove(made.world, made.qube(name))


async def test_a_qube_that_starts_as_it_is_to_be_removed_is_kept(made) -> None:
    work = made.qube("work")
    results = await asyncio.gather(
        start(made.world, work), remove(made.world, work), return_exceptions=True
    )
    assert results[0] is None
    assert isinstance(results[1], NotHaltedError)
    assert "work" in made.system.qubes


async def test_two_removals_at_once_are_one(made) -> None:
    work = made.qube("work")
    results = await asyncio.gather(
        remove(made.world, work), remove(made.world, work), return_exceptions=True
    )
    assert results[0] is None
    assert isinstance(results[1], QubeNotFoundError)


async def test_a_removal_never_takes_a_new_qube_of_the_same_name(made) -> None:
    """A removal that waits for its lane finds another qube of that name when it gets it."""
    work = made.qube("work")
    async with made.world.lanes.hold(work.uuid, "work", "test"):
        late = asyncio.ensure_future(remove(made.world, work))
        await asyncio.sleep(0)
        with made.system.change() as change:
            change.remove_qube(work)
        await made.world.pools.remove({v.vid: v.pool for v in work.volumes.values()})
        fresh = await creation(made, "work")
    with pytest.raises(AdminError):
        await late
    assert made.qube("work") is fresh
    assert "appvms/work/private" in await vids(made)


@pytest.mark.parametrize("driver", ["file", "qcow2"])
async def test_a_refused_create_leaves_the_data_that_it_found(tmp_path, driver: str) -> None:
    async with made_world(root=tmp_path, driver=driver) as made:
        await made.create("work", "StandaloneVM")
        volume = made.qube("work").volumes["private"]
        storage, spec = made.world.pools.driver(volume.pool), made.world.pools.spec(volume)
        path = await storage.import_begin(spec, 1 << 20)
        path.write_bytes(b"A" * (1 << 20))
        await storage.import_end(spec, success=True)
        qube = made.system.qubes.pop("work")  # the store was lost
        made.system.by_uuid.pop(qube.uuid)
        await made.refused("admin.vm.Create.StandaloneVM", "dom0", "", "name=work label=red")
        exported = await storage.export_begin(spec)
        assert exported.read_bytes() == b"A" * (1 << 20)
