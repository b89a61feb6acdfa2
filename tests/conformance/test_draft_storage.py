"""The draft page's calls of storage, over the socket that speaks it: each does what the page says."""

from collections.abc import Iterator

import pytest

from conformance.daemon import daemon
from conformance.test_draft import Sockets

GIB = 1 << 30


@pytest.fixture(scope="module")
def sockets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sockets]:
    with daemon(tmp_path_factory.mktemp("storage")) as run:
        made = Sockets(run)
        made.ok("admin.vm.Create.TemplateVM", "dom0", "", "name=tpl label=black")
        made.ok("admin.vm.Create.AppVM", "dom0", "tpl", "name=work label=red")
        yield made


@pytest.fixture
def pool(sockets: Sockets) -> str:
    """A pool of its own for the test."""
    name = f"p{len(sockets.ok('admin.pool.List').split())}"
    payload = f"name={name}\ndir_path=/srv/{name}\nrevisions_to_keep=9"
    sockets.ok("admin.pool.Add", "dom0", "file-reflink", payload)
    return name


def properties(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines())


def in_pool(sockets: Sockets, pool: str) -> str:
    """Make a qube whose private volume is in the pool, small, and return that one's vid."""
    name = f"in-{pool}"
    payload = f"name={name} label=red pool:private={pool}"
    sockets.ok("admin.vm.CreateInPool.AppVM", "dom0", "tpl", payload)
    vid = f"appvms/{name}/private"
    assert sockets.ok("admin.pool.volume.List", "dom0", pool) == f"{vid}\n"
    return vid


def test_info_has_the_properties_of_the_page_and_no_others(sockets: Sockets) -> None:
    names = ["pool", "vid", "size", "usage", "rw", "internal", "source", "save_on_stop",
             "snap_on_start"]  # fmt: skip
    text = sockets.ok("admin.vm.volume.Info", "work", "root")
    assert [line.split("=")[0] for line in text.splitlines()] == names
    assert properties(text) == {
        "pool": "varlibqubes", "vid": "appvms/work/root", "size": str(10 * GIB), "usage": "0",
        "rw": "True", "internal": "True", "source": "vm-templates/tpl/root",
        "save_on_stop": "False", "snap_on_start": "True",
    }  # fmt: skip
    by_vid = sockets.ok("admin.pool.volume.Info", "dom0", "varlibqubes", "appvms/work/root")
    assert by_vid == text


def test_volumes_are_listed_by_name_and_by_vid(sockets: Sockets) -> None:
    assert sockets.ok("admin.vm.volume.List", "work") == "root\nprivate\nvolatile\nkernel\n"
    listed = sockets.ok("admin.pool.volume.List", "dom0", "varlibqubes").split()
    assert {"vm-templates/tpl/root", "appvms/work/private"} <= set(listed)


def test_drivers_are_listed_with_their_options(sockets: Sockets) -> None:
    lines = sockets.ok("admin.pool.ListDrivers").splitlines()
    assert lines == sorted(lines)
    options = {line.split()[0]: line.split()[1:] for line in lines}
    assert "dir_path" in options["file"]
    assert "memory" not in options


def test_a_pool_lives_from_add_to_remove(sockets: Sockets) -> None:
    sockets.ok("admin.pool.Add", "dom0", "file", "name=brief\ndir_path=/srv/brief\n")
    assert "brief\n" in sockets.ok("admin.pool.List")
    info = properties(sockets.ok("admin.pool.Info", "dom0", "brief"))
    assert (info["driver"], info["dir_path"]) == ("file", "/srv/brief")
    assert int(info["usage"]) < int(info["size"])
    assert sockets.refused("admin.pool.Add", "dom0", "file", "name=brief\ndir_path=/x") == (
        "QubesPoolInUseError"
    )
    sockets.ok("admin.pool.Remove", "dom0", "brief")
    assert sockets.refused("admin.pool.Info", "dom0", "brief") == "PermissionDenied"


def test_a_volume_is_snapshotted_imported_to_and_reverted(sockets: Sockets) -> None:
    call = sockets.ok
    call("admin.vm.Create.AppVM", "dom0", "tpl", "name=snap label=red")
    first = call("admin.vm.volume.Snapshot", "snap", "private")
    assert call("admin.vm.volume.ListSnapshots", "snap", "private") == f"{first}\n"
    call("admin.vm.volume.ImportWithSize", "snap", "private", "5\nhello")
    assert properties(call("admin.vm.volume.Info", "snap", "private"))["size"] == "5"
    call("admin.vm.volume.Import", "snap", "private", "world")
    assert sockets.refused("admin.vm.volume.Import", "snap", "private", "longer") == (
        "StoragePoolException"
    )
    assert sockets.refused("admin.vm.volume.Import", "snap", "private", "less") == (
        "StoragePoolException"
    )
    (kept,) = call("admin.vm.volume.ListSnapshots", "snap", "private").split()
    call("admin.vm.volume.Revert", "snap", "private", kept)
    assert properties(call("admin.vm.volume.Info", "snap", "private"))["size"] == "5"
    assert sockets.refused("admin.vm.volume.Revert", "snap", "private", "nosuch") == (
        "StoragePoolException"
    )
    call("admin.vm.volume.Resize", "snap", "private", "8192")
    assert properties(call("admin.vm.volume.Info", "snap", "private"))["size"] == "8192"
    assert sockets.refused("admin.vm.volume.Resize", "snap", "private", "4096") == (
        "StoragePoolException"
    )


def test_the_same_is_done_to_a_volume_of_a_pool(sockets: Sockets, pool: str) -> None:
    vid = in_pool(sockets, pool)

    def ok(verb: str, value: str = "") -> str:
        payload = f"{vid} {value}" if value else vid
        return sockets.ok(f"admin.pool.volume.{verb}", "dom0", pool, payload)

    qube = vid.split("/")[1]
    sockets.ok("admin.vm.volume.ImportWithSize", qube, "private", "5\nhello")
    first = ok("Snapshot")
    assert first in ok("ListSnapshots").split()
    sockets.ok("admin.pool.volume.Import", "dom0", pool, f"{vid}\nworld")
    short = f"{vid}\nless"
    assert sockets.refused("admin.pool.volume.Import", "dom0", pool, short) == (
        "StoragePoolException"
    )
    path = sockets._run.parent / f"srv/{pool}" / f"{vid}.img"
    assert path.read_bytes() == b"world"
    ok("Revert", first)
    assert path.read_bytes() == b"hello"
    ok("Resize", "8192")
    assert properties(ok("Info"))["size"] == "8192"
    ok("Set.revisions_to_keep", "0")
    token = ok("CloneFrom")
    ok("CloneTo", token)
    assert ok("ListSnapshots") == ""
    nobody = "appvms/nobody/private"
    assert sockets.refused("admin.pool.volume.Info", "dom0", pool, nobody) == (
        "StoragePoolException"
    )
    assert sockets.refused("admin.pool.volume.Info", "dom0", "nosuch", vid) == "PermissionDenied"


def test_a_qube_is_cloned_with_all_that_is_its_own(sockets: Sockets, pool: str) -> None:
    call = sockets.ok
    call("admin.vm.tag.Set", "work", "personal")
    call("admin.vm.feature.Set", "work", "service.cups", "1")
    call("admin.vm.property.Set", "work", "memory", "555")
    call("admin.vm.volume.ImportWithSize", "work", "private", "5\nhello")
    call("admin.vm.Clone", "work", "", "name=work2")
    call("admin.vm.CloneInPool", "work", "", f"name=work3 pool:private={pool}")
    for name, where in (("work2", "varlibqubes"), ("work3", pool)):
        assert call("admin.vm.List", name) == f"{name} class=AppVM state=Halted\n"
        assert call("admin.vm.tag.Get", name, "personal") == "1"
        assert call("admin.vm.tag.Get", name, "created-by-dom0") == "1"
        assert call("admin.vm.feature.Get", name, "service.cups") == "1"
        assert call("admin.vm.property.Get", name, "memory") == "default=no 555"
        assert call("admin.vm.property.Get", name, "template") == "default=no tpl"
        assert call("admin.vm.property.Get", name, "label") == "default=no red"
        info = properties(call("admin.vm.volume.Info", name, "private"))
        assert (info["pool"], info["size"]) == (where, "5")
        at = "var/lib/qubes" if where == "varlibqubes" else f"srv/{pool}"
        copied = sockets._run.parent / at / f"appvms/{name}/private.img"
        assert copied.read_bytes() == b"hello"
    assert sockets.refused("admin.vm.Clone", "work", "", "name=work2") == (
        "QubesVMAlreadyExistsError"
    )
    assert sockets.refused("admin.vm.CloneInPool", "work", "", "name=x pool=nosuch") == (
        "QubesException"
    )
    assert sockets.refused("admin.vm.Clone", "dom0", "", "name=x") == "ProtocolError"


def test_a_template_is_made_of_its_root_image(sockets: Sockets) -> None:
    image = "not a file system" * 100
    sockets.ok("admin.vm.CreateTemplate", "dom0", "tpl2", image)
    assert sockets.ok("admin.vm.List", "tpl2") == "tpl2 class=TemplateVM state=Halted\n"
    root = sockets._run.parent / "var/lib/qubes/vm-templates/tpl2/root.img"
    with root.open("rb") as file:
        assert file.read(len(image)) == image.encode()
    assert root.stat().st_size == 10 * GIB
    sockets.ok("admin.vm.Create.AppVM", "dom0", "tpl2", "name=of-tpl2 label=red")
    assert sockets.refused("admin.vm.CreateTemplate", "dom0", "tpl2", image) == (
        "QubesVMAlreadyExistsError"
    )
    assert sockets.refused("admin.vm.CreateTemplate", "dom0", "tpl3", "") == "StoragePoolException"
    assert sockets.refused("admin.vm.List", "tpl3") == "QubesVMNotFoundError"
    assert not (root.parents[1] / "tpl3").exists()


def test_qubes_are_made_in_the_pools_that_are_named(sockets: Sockets, pool: str) -> None:
    create = "admin.vm.CreateInPool.StandaloneVM"
    sockets.ok(create, "dom0", "", f"name=all-{pool} label=red pool={pool}")
    sockets.ok(create, "dom0", "", f"name=one-{pool} label=red pool:root={pool}")
    pools = {
        (name, volume): properties(sockets.ok("admin.vm.volume.Info", name, volume))["pool"]
        for name in (f"all-{pool}", f"one-{pool}")
        for volume in ("root", "private", "volatile")
    }
    assert pools == {
        (f"all-{pool}", "root"): pool,
        (f"all-{pool}", "private"): pool,
        (f"all-{pool}", "volatile"): pool,
        (f"one-{pool}", "root"): pool,
        (f"one-{pool}", "private"): "varlibqubes",
        (f"one-{pool}", "volatile"): "varlibqubes",
    }
    assert sockets.refused("admin.pool.Remove", "dom0", pool) == "QubesPoolInUseError"
    for name in (f"all-{pool}", f"one-{pool}"):
        sockets.ok("admin.vm.Remove", name)
    sockets.ok("admin.pool.Remove", "dom0", pool)
    assert not (sockets._run.parent / f"srv/{pool}").exists()
