"""What a new qube is made of: its class, template, label, and its volumes with their pools."""

from collections.abc import Iterator
from dataclasses import replace
from uuid import uuid4

from ..errors import (
    BadValueError,
    LabelNotFoundError,
    PoolNotFoundError,
    PropertyValueError,
    ProtocolError,
    QubeNotFoundError,
)
from ..facts import PropertyValue
from ..model.qube import Qube
from ..model.system import System
from ..model.volume import KERNEL, ROOT, Plan, Volume, plans
from ..names import FeatureName, PoolName, PropertyName, QubeName, VolumeName
from ..spec.classes import DISP_VM, TEMPLATE_VM, QubeClass
from ..spec.new_qube import NewClone, NewQube, Pools
from ..spec.properties import QUBE_PROPERTIES
from ..spec.property_body import Kind
from .world import World

_P = PropertyName
_DISPIDS = range(1001, 10000)
#: Properties of a qube that its clone has not: what must differ, and what was true of it alone.
_NOT_CLONED = frozenset(
    {"name", "qid", "uuid", "dispid", "ip", "ip6", "installed_by_rpm", "backup_timestamp"}
)
_TAGS_NOT_CLONED = ("created-by-", "disp-created-by-", "backup-restore-")
_FEATURES_NOT_CLONED = frozenset(
    FeatureName(f"preload-dispvm{rest}") for rest in ("", "-completed", "-in-progress")
)


def compose(world: World, klass: QubeClass, template: QubeName | None, new: NewQube) -> Qube:
    """Return a qube that is not in the system yet."""
    system = world.system
    try:
        label = system.label(new.label)
    except LabelNotFoundError:
        raise ProtocolError("payload", "no such label") from None  # as R4 has it: vector 1355
    base = None if klass.template is None else template_for(system, klass, template)
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
        properties["dispid"] = next_dispid(system)
    qube.properties.update((_P(key), value) for key, value in properties.items())
    chosen = _chosen(world, new.pools)
    for plan in plans(klass):
        volume = _of_base(world, qube, plan, base) or _own(world, qube, plan, chosen)
        qube.volumes[volume.name] = volume
    return qube


def clone_of(world: World, original: Qube, new: NewClone) -> Qube:
    """Return a qube like another one, that is not in the system yet."""
    qube = Qube(uuid4(), new.name, 0, original.klass)
    kept = {n: v for n, v in original.properties.items() if n not in _NOT_CLONED}
    qube.properties.update(
        {_P("name"): qube.name, _P("qid"): 0, _P("uuid"): str(qube.uuid), **kept}
    )
    if qube.klass is DISP_VM:
        qube.properties[_P("dispid")] = next_dispid(world.system)
    qube.features.update(
        (name, value)
        for name, value in original.features.items()
        if name not in _FEATURES_NOT_CLONED
    )
    qube.tags.update(tag for tag in original.tags if not tag.startswith(_TAGS_NOT_CLONED))
    qube.notes = original.notes
    chosen = _chosen(world, new.pools)
    for volume in original.volumes.values():
        pool = volume.pool if volume.snap_on_start else _pool_of(volume.name, chosen, volume.pool)
        qube.volumes[volume.name] = _moved(world, qube, volume, pool)
    return qube


def check_references(system: System, qube: Qube) -> None:
    """Raise if what a new qube names is gone: others may have removed it meanwhile."""
    for name, value in qube.properties.items():
        kind = QUBE_PROPERTIES[name].kind
        if kind is Kind.LABEL:
            system.label(str(value))
        elif kind is Kind.VM and value is not None and QubeName(str(value)) not in system.qubes:
            raise QubeNotFoundError(str(value))
    if qube.klass.template is not None:
        template_for(system, qube.klass, QubeName(str(qube.properties[_P("template")])))
    for volume in qube.volumes.values():
        if volume.pool not in system.pools:
            raise PoolNotFoundError(volume.pool)


def template_for(system: System, klass: QubeClass, name: QubeName | None) -> Qube:
    """Return the template of this name, or the default one, if a qube may be based on it."""
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


def next_dispid(system: System) -> int:
    """Return the number after the last one given, so that none is used again soon."""
    taken = {q.properties.get(_P("dispid")) for q in system.qubes.values() if q.klass is DISP_VM}
    last = system.counters.get("dispid", _DISPIDS.start - 1)
    for step in range(1, len(_DISPIDS) + 1):
        dispid = _DISPIDS[(last - _DISPIDS.start + step) % len(_DISPIDS)]
        if dispid not in taken:
            return dispid
    raise BadValueError("dispid", "all numbers of disposables are in use")


def _chosen(world: World, pools: Pools) -> dict[str, PoolName]:
    """Return the pools that were named, by volume; raise if one doesn't exist."""
    for volume, name in pools:
        if name not in world.system.pools:
            raise PoolNotFoundError(name)
        if volume == KERNEL and name != world.pools.kernel_pool:
            raise BadValueError("pool:kernel", "kernels come from the pool default_pool_kernel")
    return dict(pools)


def _pool_of(volume: VolumeName, chosen: dict[str, PoolName], otherwise: PoolName) -> PoolName:
    return chosen.get(volume, chosen.get("", otherwise))


def _own(world: World, qube: Qube, plan: Plan, chosen: dict[str, PoolName]) -> Volume:
    default = PoolName(str(world.system.value(None, _P(f"default_pool_{plan.name}"))))
    pool = _pool_of(plan.name, chosen, default)
    volume = Volume(
        name=VolumeName(plan.name),
        pool=pool,
        vid="",
        size_bytes=plan.size_bytes,
        save_on_stop=plan.save_on_stop,
    )
    return _moved(world, qube, volume, pool)


def _of_base(world: World, qube: Qube, plan: Plan, base: Qube | None) -> Volume | None:
    """Return a volume that is a snapshot of one of the template's, or None: it is none."""
    if not plan.snap_on_start or base is None:
        return None
    origin = base.volumes[plan.name]
    source = origin.source if plan.name == ROOT and origin.snap_on_start else origin.vid
    volume = Volume(
        name=VolumeName(plan.name),
        pool=origin.pool,
        vid="",
        size_bytes=origin.size_bytes,
        source=source,
        save_on_stop=plan.save_on_stop,
        snap_on_start=True,
    )
    return _moved(world, qube, volume, origin.pool)


def _moved(world: World, qube: Qube, volume: Volume, pool: PoolName) -> Volume:
    """Return the volume as the qube's own, in a pool."""
    known = world.system.pools.get(pool)
    if known is None:
        raise PoolNotFoundError(pool)
    is_template = qube.klass is TEMPLATE_VM
    vid = world.pools.driver(pool).vid(qube.name, volume.name, template=is_template)
    keep = (
        volume.revisions_to_keep if volume.vid and volume.pool == pool else known.revisions_to_keep
    )
    return replace(volume, pool=pool, vid=vid, revisions_to_keep=keep)


def saved(qube: Qube) -> Iterator[Volume]:
    """Yield the volumes that keep something."""
    return (volume for volume in qube.volumes.values() if volume.save_on_stop)
