"""A qube that provides network is a service: the feature `servicevm` follows the property."""

from ..facts import PropertyReset, PropertySet, StateChanged
from ..hooks import Hooks
from ..model.change import Change
from ..names import FeatureName, PropertyName

_PROPERTY = PropertyName("provides_network")
_FEATURE = FeatureName("servicevm")


def _changed(change: Change, fact: PropertySet | PropertyReset) -> None:
    if fact.subject is None or fact.name != _PROPERTY:
        return
    qube = change.system.qubes[fact.subject]
    if change.system.value(qube, _PROPERTY):
        change.set_feature(qube, _FEATURE, "1")
    elif _FEATURE in qube.features:
        change.remove_feature(qube, _FEATURE)
    change.tell(StateChanged(qube.name, PropertyName("icon")))


def register(hooks: Hooks) -> None:
    """Register with the hooks."""
    hooks.rule(PropertySet, _changed)
    hooks.rule(PropertyReset, _changed)
