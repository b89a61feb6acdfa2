"""Imports, and what others do to the qube meanwhile."""

import asyncio

import pytest

from qubeward.errors import NotHaltedError, QubeInUseError, QubeNotFoundError
from qubeward.names import VolumeName
from qubeward.ops import imports
from qubeward.ops.create import remove
from qubeward.ops.start import start
from qubeward.spec.volume_body import ImportResult
from world import Made, made_world

PRIVATE = VolumeName("private")


@pytest.fixture
async def made(tmp_path):
    async with made_world(root=tmp_path, driver="file") as made:
        await made.create("tpl", "TemplateVM")
        await made.create("work", "AppVM", template="tpl")
        yield made


def side_files(made: Made) -> list[str]:
    return [path.name for path in made.world.root.rglob("*-import.img")]


async def test_a_qube_cannot_start_on_a_volume_that_is_being_replaced(made) -> None:
    work = made.qube("work")
    await imports.begin(made.world, work, PRIVATE, 4096)
    with pytest.raises(QubeInUseError):
        await start(made.world, work)
    await imports.end(made.world, work, PRIVATE, ImportResult(success=True))
    assert work.volumes[PRIVATE].size_bytes == 4096
    assert side_files(made) == []
    await start(made.world, work)
    with pytest.raises(NotHaltedError):
        await imports.begin(made.world, work, PRIVATE, 4096)
    assert side_files(made) == []


async def test_an_import_into_a_qube_removed_meanwhile_leaves_nothing(made) -> None:
    work = made.qube("work")
    async with made.world.lanes.hold(work.uuid, "work", "test"):
        removing = asyncio.ensure_future(remove(made.world, work))
        await asyncio.sleep(0)
        beginning = asyncio.ensure_future(imports.begin(made.world, work, PRIVATE, 4096))
        await asyncio.sleep(0)
    await removing
    with pytest.raises(QubeNotFoundError):
        await beginning
    assert side_files(made) == []
    assert not made.world.imports
