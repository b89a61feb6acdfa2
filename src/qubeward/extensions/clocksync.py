"""The qube that keeps the time runs the service for it: `service.clocksync` follows clockvm."""

from ..facts import PropertyReset, PropertySet
from ..hooks import Hooks
from ..model.change import Change
from ..names import FeatureName, PropertyName, QubeName

_PROPERTY = PropertyName("clockvm")
_FEATURE = FeatureName("service.clocksync")


def _changed(change: Change, fact: PropertySet | PropertyReset) -> None:
    if fact.subject is not None or fact.name != _PROPERTY:
        return
    qubes = change.system.qubes
    new = change.system.value(None, _PROPERTY)
    if isinstance(fact.old, str) and fact.old != new:
        before = qubes.get(QubeName(fact.old))
        if before is not None and _FEATURE in before.features:
            change.remove_feature(before, _FEATURE)
    if isinstance(new, str) and _FEATURE not in qubes[QubeName(new)].features:
        change.set_feature(qubes[QubeName(new)], _FEATURE, "1")


def register(hooks: Hooks) -> None:
    """Register with the hooks."""
    hooks.rule(PropertySet, _changed)
    hooks.rule(PropertyReset, _changed)
