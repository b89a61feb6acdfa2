"""What follows from a property for others: volumes from a new template, defaults that moved."""

from dataclasses import replace

from ..facts import DefaultChanged, PropertyReset, PropertySet, StateChanged
from ..hooks import Hooks
from ..model.change import Change
from ..model.volume import ROOT
from ..names import PropertyName

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
    if fact.subject is None or fact.name != "template":
        return
    qube = change.system.qubes[fact.subject]
    template = change.system.qube(str(fact.new))
    for name, volume in tuple(qube.volumes.items()):
        if volume.snap_on_start and name in template.volumes:
            base = template.volumes[name]
            source = base.source if name == ROOT and base.snap_on_start else base.vid
            change.set_volume(
                qube, replace(volume, source=source, pool=base.pool, size_bytes=base.size_bytes)
            )


def _default_changed(change: Change, fact: PropertySet | PropertyReset) -> None:
    name = PropertyName(_DEFAULTS.get(fact.name, ""))
    if fact.subject is not None or not name:
        return
    if change.system.value(None, fact.name) == fact.old:
        return
    for qube in tuple(change.system.qubes.values()):
        if qube.klass.runs and name not in qube.properties:
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
