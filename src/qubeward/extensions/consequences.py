"""What follows from a property for others: volumes from a new template, defaults that moved."""

from dataclasses import replace

from ..facts import DefaultChanged, PropertyReset, PropertySet, StateChanged
from ..hooks import Hooks
from ..model.change import Change
from ..model.qube import Qube
from ..model.volume import ROOT
from ..names import PropertyName

_TEMPLATE = PropertyName("template")
#: Properties of the system that are defaults, and the property of qubes that each is one of.
_DEFAULTS = {
    "default_netvm": "netvm",
    "default_guivm": "guivm",
    "default_audiovm": "audiovm",
    "default_dispvm": "default_dispvm",
    "default_kernel": "kernel",
    "default_qrexec_timeout": "qrexec_timeout",
    "default_shutdown_timeout": "shutdown_timeout",
    "management_dispvm": "management_dispvm",
}
#: Computed properties that change with another.
_COMPUTED = {
    "label": ("icon",),
    "template_for_dispvms": ("icon",),
    "netvm": ("visible_ip", "visible_gateway", "visible_netmask", "ip", "dns"),
    "ip": ("visible_ip", "gateway"),
}


def _template_set(change: Change, fact: PropertySet) -> None:
    if fact.subject is not None and fact.name == _TEMPLATE:
        _follow(change, change.system.qubes[fact.subject], change.system.qube(str(fact.new)))


def _follow(change: Change, qube: Qube, template: Qube) -> None:
    """Let a qube's snapshots be of its template's volumes, and so on down to its disposables."""
    for name, volume in tuple(qube.volumes.items()):
        base = template.volumes.get(name) if volume.snap_on_start else None
        if base is None or not (qube.power.is_halted or base.pool == volume.pool):
            continue  # what runs is put away in the pool that it was started from
        source = base.source if name == ROOT and base.snap_on_start else base.vid
        change.set_volume(
            qube, replace(volume, source=source, pool=base.pool, size_bytes=base.size_bytes)
        )
    for holder, prop in change.system.references.to(qube.name):
        if holder is not None and prop == _TEMPLATE:
            _follow(change, holder, qube)


def _default_changed(change: Change, fact: PropertySet | PropertyReset) -> None:
    name = PropertyName(_DEFAULTS.get(fact.name, ""))
    if fact.subject is not None or not name:
        return
    new = change.system.value(None, fact.name)
    if new == fact.old:
        return
    for qube in tuple(change.system.qubes.values()):
        if not qube.klass.runs or name in qube.properties:
            continue
        if change.system.value(qube, name) == new:  # else it has its default from elsewhere
            change.tell(DefaultChanged(qube.name, name, fact.old))


def _computed(change: Change, fact: PropertySet | PropertyReset) -> None:
    if fact.subject is not None:
        for name in _COMPUTED.get(fact.name, ()):
            change.tell(StateChanged(fact.subject, PropertyName(name)))


def register(hooks: Hooks) -> None:
    """Register with the hooks."""
    hooks.rule(PropertySet, _template_set)
    hooks.rule(PropertySet, _default_changed)
    hooks.rule(PropertyReset, _default_changed)
    hooks.rule(PropertySet, _computed)
    hooks.rule(PropertyReset, _computed)
