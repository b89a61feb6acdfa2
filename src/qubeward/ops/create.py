"""Make a qube with its volumes, or leave nothing; remove one, or finish removing it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from uuid import uuid4

from ..errors import (
    NotHaltedError,
    QubeExistsError,
    QubeInUseError,
    QubeNotFoundError,
    StorageError,
)
from ..facts import VolumesRemoved
from ..model.change import Change
from ..model.qube import Qube
from ..model.volume import ROOT
from ..names import ADMIN, LabelName, PropertyName, QubeName
from ..spec.classes import DISP_VM, TEMPLATE_VM, QubeClass
from ..spec.new_qube import NewClone, NewQube
from . import consoles, space
from .compose import check_references, clone_of, compose, next_dispid, saved
from .imports import drop_abandoned
from .incoming import Incoming
from .steps import Plan, Step, run
from .volume import check_readable, copy
from .world import World

_P = PropertyName
#: The label of templates that are made of an image alone.
_TEMPLATE_LABEL = LabelName("black")


async def create(
    world: World, source: QubeName, klass: QubeClass, template: QubeName | None, new: NewQube
) -> Qube:
    """Make a qube of a class for `source`. The name is taken from the first moment."""
    qube = compose(world, klass, template, new)
    with _reserved(world, qube.name):
        async with world.lanes.hold(qube.uuid, qube.name, "create"):
            await _make(world, source, qube)
    return qube


async def create_template(
    world: World, source: QubeName, name: QubeName, incoming: Incoming
) -> Qube:
    """Make a template whose root volume is what comes in."""
    qube = compose(world, TEMPLATE_VM, None, NewQube(name, _TEMPLATE_LABEL))

    async def receive() -> None:
        root = qube.volumes[ROOT]
        driver, spec = world.pools.driver(root.pool), world.pools.spec(root)
        into = await driver.import_begin(spec, root.size_bytes)
        with world.operations.begin("import", name, ROOT, None) as operation:
            limit = None if into.is_file() else root.size_bytes
            came = await incoming.pour(into, limit, operation)
        if not came:
            raise StorageError(f"volume {ROOT} of {name}", "the payload is empty")
        await driver.import_end(spec, success=True)
        qube.volumes[ROOT] = replace(root, size_bytes=await driver.size_bytes(spec))

    with _reserved(world, qube.name):
        async with world.lanes.hold(qube.uuid, qube.name, "create"):
            await _make(world, source, qube, Step("root", receive))
    return qube


async def clone(world: World, source: QubeName, original: Qube, new: NewClone) -> Qube:
    """Make a qube like another one, with what that one's volumes held at its last stop."""
    qube = clone_of(world, original, new)

    async def fill() -> None:
        for volume in saved(qube):
            origin = original.volumes[volume.name]
            check_readable(original, origin)
            await copy(world, qube.name, volume, origin)
            spec = world.pools.spec(volume)
            await world.pools.driver(volume.pool).import_end(spec, success=True)

    with _reserved(world, qube.name):
        async with world.lanes.hold_all((original.uuid, qube.uuid), "clone"):
            if world.system.by_uuid.get(original.uuid) is not original:
                raise QubeNotFoundError(original.name)
            await _make(world, source, qube, Step("contents", fill))
    return qube


@contextmanager
def _reserved(world: World, name: QubeName) -> Iterator[None]:
    if name in world.system.qubes or name in world.reserved:
        raise QubeExistsError(name)
    world.reserved.add(name)
    try:
        yield
    finally:
        world.reserved.discard(name)


async def _make(world: World, source: QubeName, qube: Qube, *more: Step) -> None:
    """Make a qube's volumes, do what else it takes, and let it be; or leave nothing of it."""
    await space.require(world, (volume.pool for volume in saved(qube)))
    for volume in saved(qube):
        # Before the plan: its undo removes what has these ids, whoever made it.
        if await world.pools.driver(volume.pool).usage_bytes(volume.vid):
            raise StorageError(volume.vid, "a volume with data is there already")

    async def make() -> None:
        await world.pools.create(qube.volumes.values())

    async def unmake() -> None:
        await world.pools.remove(_where(qube))

    def land(change: Change) -> None:
        # While volumes were made, others may have taken the numbers, or removed what it needs.
        check_references(world.system, qube)
        if qube.klass is DISP_VM:
            qube.properties[_P("dispid")] = dispid = next_dispid(world.system)
            change.set_counter("dispid", dispid)
        qube.qid = world.system.free_qid()
        qube.properties[_P("qid")] = qube.qid
        change.source = source
        change.add_qube(qube)

    about: dict[str, object] = {"name": qube.name, "uuid": str(qube.uuid), "volumes": _where(qube)}
    plan = Plan("create", about, (Step("volumes", make, unmake), *more), land)
    used = {volume.pool for volume in qube.volumes.values()}
    world.busy_pools.update(used)
    try:
        await run(plan, world.journal)
    finally:
        world.busy_pools.subtract(used)
    await world.records.write(qube)


def _where(qube: Qube) -> dict[str, str]:
    return {volume.vid: volume.pool for volume in qube.volumes.values()}


def _check_unused(world: World, qube: Qube) -> None:
    if qube.name == ADMIN:
        raise QubeInUseError(qube.name, "it is the administrator's")
    if world.system.value(qube, _P("installed_by_rpm")) if qube.klass.runs else False:
        raise QubeInUseError(qube.name, "it belongs to a package of the host")
    if qube.klass.runs and not qube.power.is_halted:
        raise NotHaltedError(qube.name)
    for holder, name in world.system.references.to(qube.name):
        if holder is not qube:
            whose = "the system" if holder is None else holder.name
            raise QubeInUseError(qube.name, f"{name} of {whose}")


async def remove(world: World, qube: Qube) -> None:
    """Remove a halted qube that nothing refers to.

    The entry goes first; then what it had on disk. A crash between is finished at the next start.
    """
    _check_unused(world, qube)
    async with world.hold(qube, "remove"):
        _check_unused(world, qube)
        await drop_abandoned(world, qube)
        await space.check_there(world, (volume.pool for volume in qube.volumes.values()))
        world.reserved.add(qube.name)  # until the volumes are gone, nobody may make them again
        try:
            entry = str(uuid4())
            with world.system.change() as change:
                change.remove_qube(qube)
                about = {"name": qube.name, "uuid": str(qube.uuid), "volumes": _where(qube)}
                change.write("journal", (entry,), ("remove", about))
            await world.journal.stored()
            await finish_removal(world, qube.name, _where(qube), entry)
        finally:
            world.reserved.discard(qube.name)


async def finish_removal(world: World, name: QubeName, volumes: dict[str, str], entry: str) -> None:
    """Remove what a removed qube had on disk, and end the journal's entry."""
    async with world.records.lock:  # else one might be written where a volume was
        await world.pools.remove(volumes)
    consoles.remove(world.consoles, name)
    with world.system.change() as change:
        change.tell(VolumesRemoved(name))
        world.journal.end(change, entry)
    await world.journal.stored()
