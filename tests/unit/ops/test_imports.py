"""Imports from the host: the old content stays until the new is whole."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from qubeward.ops import imports
from qubeward.ops.recover import recover
from qubeward.server.gate import Endpoint
from qubeward.wire.dialect import Dialect
from world import Made, made_world

INTERNAL = Endpoint(Dialect.R4, judged=True, internal=True)
BEGIN, END = "internal.vm.volume.ImportBegin", "internal.vm.volume.ImportEnd"


@pytest.fixture
async def made(tmp_path):
    async with made_world(root=tmp_path, driver="file-reflink") as made:
        await made.create("tpl", "TemplateVM")
        await made.create("work", "AppVM", template="tpl")
        yield made


async def begin(made: Made, size: str = "4096", volume: str = "root") -> Path:
    reply = await made.ok(BEGIN, "tpl", volume, size, endpoint=INTERNAL)
    assert reply.startswith("4096 /var/lib/qubes/vm-templates/tpl/")
    return made.world.root / reply.split(" ", 1)[1].lstrip("/")


def committed(made: Made) -> bytes:
    with (made.world.root / "var/lib/qubes/vm-templates/tpl/root.img").open("rb") as image:
        return image.read(3)


async def test_a_finished_import_is_the_volume_and_sizes_follow(made):
    path = await begin(made)
    assert path.stat().st_size == 4096
    path.write_bytes(b"new".ljust(4096, b"\0"))
    assert committed(made) != b"new"
    await made.ok(END, "tpl", "root", "ok", endpoint=INTERNAL)
    assert committed(made) == b"new"
    assert made.qube("tpl").volumes["root"].size_bytes == 4096
    assert made.qube("work").volumes["root"].size_bytes == 4096
    names = [type(fact).__name__ for fact in made.facts]
    assert names[-2:] == ["VolumeImporting", "VolumeImported"]


async def test_a_failed_import_leaves_the_old_and_says_why(made):
    path = await begin(made)
    path.write_bytes(b"new")
    failure = await made.refused(END, "tpl", "root", "fail\nthe wire broke", endpoint=INTERNAL)
    assert "the wire broke" in str(failure)
    assert not path.exists()
    assert committed(made) == b"\0\0\0"


async def test_an_end_without_a_begin_is_refused(made):
    failure = await made.refused(END, "tpl", "root", "ok", endpoint=INTERNAL)
    assert failure.wire_name == "StoragePoolException"


async def test_a_second_begin_drops_the_first(made):
    first = await begin(made)
    first.write_bytes(b"old")
    second = await begin(made)
    assert second.read_bytes()[:3] == b"\0\0\0"
    await made.ok(END, "tpl", "root", "ok", endpoint=INTERNAL)


async def test_a_qube_does_not_start_while_it_is_imported_to(made):
    await begin(made)
    failure = await made.refused("admin.vm.Start", "tpl")
    assert failure.wire_name == "QubesVMInUseError"
    await made.refused(END, "tpl", "root", "fail\nx", endpoint=INTERNAL)
    await made.ok("admin.vm.Start", "tpl")
    assert (await made.refused(BEGIN, "tpl", "root", endpoint=INTERNAL)).wire_name == (
        "QubesVMNotHaltedError"
    )


async def test_an_import_whose_importer_went_away_holds_no_start_up_for_ever(made):
    path = await begin(made)
    long_ago = path.stat().st_mtime - imports.ABANDONED_S
    os.utime(path, (long_ago, long_ago))
    await made.ok("admin.vm.Start", "tpl")
    assert not path.exists()
    assert not made.world.imports


async def test_an_unknown_volume_is_denied(made):
    failure = await made.refused(BEGIN, "tpl", "nosuch", endpoint=INTERNAL)
    assert failure.wire_name == "PermissionDenied"


async def test_the_internal_calls_are_on_no_other_socket_and_the_others_not_there(made):
    assert (await made.refused(BEGIN, "tpl", "root")).wire_name == "ProtocolError"
    answer = await made.refused("admin.vm.List", endpoint=INTERNAL)
    assert answer.wire_name == "ProtocolError"


async def test_recovery_drops_an_import_that_a_crash_cut_off(made):
    path = await begin(made)
    path.write_bytes(b"half")
    writes = [w for c in made.backend.commits for w in c.writes if w.table == "journal"]
    (entry,) = [(w.key[0], *w.values) for w in writes if w.values and w.values[0] == "import"]
    made.world.imports.clear()
    await recover(made.world, [entry], [])
    assert not path.exists()
    assert committed(made) == b"\0\0\0"
    last = [w for c in made.backend.commits for w in c.writes if w.table == "journal"][-1]
    assert (last.key[0], last.values) == (entry[0], None)


async def test_an_end_is_refused_whose_file_has_another_size(made):
    for size in (3, 5000):
        path = await begin(made)
        os.truncate(path, size)
        failure = await made.refused(END, "tpl", "root", "ok", endpoint=INTERNAL)
        assert f"{size} of 4096 bytes came" in str(failure)
        assert not path.exists()
        assert committed(made) == b"\0\0\0"


async def test_a_dropped_import_is_told_of_as_failed(made):
    await begin(made)
    made.facts.clear()
    await begin(made)
    assert [type(fact).__name__ for fact in made.facts] == ["VolumeImported", "VolumeImporting"]
    assert not made.facts[0].success


async def test_a_volume_is_not_resized_while_it_is_imported_to(made):
    await begin(made)
    size = made.qube("tpl").volumes["root"].size_bytes
    failure = await made.refused("admin.vm.volume.Resize", "tpl", "root", str(size + 4096))
    assert "is being imported" in str(failure)
    await made.ok(END, "tpl", "root", "ok", endpoint=INTERNAL)
    await made.ok("admin.vm.volume.Resize", "tpl", "root", str(size + 4096))


async def test_a_payload_on_its_way_is_not_ended_by_the_internal_call(made):
    path = await begin(made)
    key = made.qube("tpl").uuid, "root"
    made.world.imports[key] = replace(made.world.imports[key], received=True)
    failure = await made.refused(END, "tpl", "root", "ok", endpoint=INTERNAL)
    assert "none was begun" in str(failure)
    assert path.exists()
