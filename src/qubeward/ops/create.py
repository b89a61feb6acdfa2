"""Make a qube with its volumes, or leave nothing; remove one, or finish removing it."""

from uuid import uuid4

from ..errors import (
    BadValueError,
    LabelNotFoundError,
    NotHaltedError,
    PropertyValueError,
    ProtocolError,
    QubeExistsError,
    QubeInUseError,
    QubeNotFoundError,
)
from ..facts import PropertyValue, VolumesRemoved
from ..model.change import Change
from ..model.qube import Qube
from ..model.system import System
from ..model.volume import ROOT, Volume, plans
from ..names import ADMIN, PoolName, PropertyName, QubeName, VolumeName
from ..spec.classes import DISP_VM, TEMPLATE_VM, QubeClass
from ..spec.vm_body import NewQube
from . import consoles
from .steps import Plan, Step, run
from .world import World

_P = PropertyName
_DISPIDS = range(1001, 10000)


async def create(
    world: World, source: QubeName, klass: QubeClass, template: QubeName | None, new: NewQube
) -> Qube:
    """Make a qube of a class for `source`. The name is taken from the first moment."""
    qube = _compose(world.system, klass, template, new)
    if qube.name in world.system.qubes or qube.name in world.reserved:
        raise QubeExistsError(qube.name)
    world.reserved.add(qube.name)

    async def make() -> None:
        await world.pools.create(qube)

    async def unmake() -> None:
        await world.pools.remove(_where(qube))

    def land(change: Change) -> None:
        # While volumes were made, others may have taken the numbers, or removed what it needs.
        world.system.label(str(qube.properties[_P("label")]))
        if _P("template") in qube.properties:
            _template(world.system, klass, QubeName(str(qube.properties[_P("template")])))
        if klass is DISP_VM:
            qube.properties[_P("dispid")] = dispid = _next_dispid(world.system)
            change.set_counter("dispid", dispid)
        qube.qid = world.system.free_qid()
        qube.properties[_P("qid")] = qube.qid
        change.source = source
        change.add_qube(qube)

    about: dict[str, object] = {"name": qube.name, "uuid": str(qube.uuid), "volumes": _where(qube)}
    try:
        async with world.lanes.hold(qube.uuid, qube.name, "create"):
            await run(Plan("create", about, (Step("volumes", make, unmake),), land), world.journal)
    finally:
        world.reserved.discard(qube.name)
    return qube


def _where(qube: Qube) -> dict[str, str]:
    return {volume.vid: volume.pool for volume in qube.volumes.values()}


def _compose(system: System, klass: QubeClass, template: QubeName | None, new: NewQube) -> Qube:
    try:
        label = system.label(new.label)
    except LabelNotFoundError:
        raise ProtocolError("payload", "no such label") from None  # as R4 has it: vector 1355
    base = None if klass.template is None else _template(system, klass, template)
    qube = Qube(uuid4(), new.name, 0, klass)
    properties: dict[str, PropertyValue] = {
        "name": qube.name,
        "qid": 0,
        "uuid": str(qube.uuid),
        "label": label.name,
    }
    if base is not None:
        properties["template"] = base.name
    if klass is DISP_VM:
        properties["dispid"] = _next_dispid(system)
    qube.properties.update((_P(key), value) for key, value in properties.items())
    qube.volumes.update((volume.name, volume) for volume in _volumes(system, qube, base))
    return qube


def _template(system: System, klass: QubeClass, name: QubeName | None) -> Qube:
    if name is None:
        default = _P("default_dispvm" if klass is DISP_VM else "default_template")
        value = system.value(None, default)
        if value is None:
            raise BadValueError("template", f"none is named, and {default} is not set")
        name = QubeName(str(value))
    template = system.qubes.get(name)
    if template is None:
        raise QubeNotFoundError(name)
    if template.klass.name != klass.template:
        if klass is DISP_VM:
            raise BadValueError("template", f"{name} is not a template for disposables")
        raise PropertyValueError("template", f"allowed: a {klass.template}")
    if klass is DISP_VM and not system.value(template, _P("template_for_dispvms")):
        raise BadValueError("template", f"{name} is not a template for disposables")
    return template


def _next_dispid(system: System) -> int:
    """Return the number after the last one given, so that none is used again soon."""
    taken = {q.properties.get(_P("dispid")) for q in system.qubes.values() if q.klass is DISP_VM}
    last = system.counters.get("dispid", _DISPIDS.start - 1)
    for step in range(1, len(_DISPIDS) + 1):
        dispid = _DISPIDS[(last - _DISPIDS.start + step) % len(_DISPIDS)]
        if dispid not in taken:
            return dispid
    raise BadValueError("dispid", "all numbers of disposables are in use")


def _volumes(system: System, qube: Qube, base: Qube | None) -> list[Volume]:
    folder = "vm-templates" if qube.klass is TEMPLATE_VM else "appvms"
    made: list[Volume] = []
    for plan in plans(qube.klass):
        pool = PoolName(str(system.value(None, _P(f"default_pool_{plan.name}"))))
        size_bytes, source = plan.size_bytes, None
        if plan.snap_on_start and base is not None:
            origin = base.volumes[plan.name]
            source = origin.source if plan.name == ROOT and origin.snap_on_start else origin.vid
            pool, size_bytes = origin.pool, origin.size_bytes
        made.append(
            Volume(
                name=VolumeName(plan.name),
                pool=pool,
                vid=f"{folder}/{qube.name}/{plan.name}",
                size_bytes=size_bytes,
                source=source,
                save_on_stop=plan.save_on_stop,
                snap_on_start=plan.snap_on_start,
            )
        )
    return made


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
    async with world.lanes.hold(qube.uuid, qube.name, "remove"):
        if world.system.by_uuid.get(qube.uuid) is not qube:  # another may have its name by now
            raise QubeNotFoundError(qube.name)
        _check_unused(world, qube)
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
    await world.pools.remove(volumes)
    consoles.remove(world.consoles, name)
    with world.system.change() as change:
        change.tell(VolumesRemoved(name))
        world.journal.end(change, entry)
    await world.journal.stored()
