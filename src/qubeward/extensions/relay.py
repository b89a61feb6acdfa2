"""The tag `relayvm-NAME` lets policy speak of who carries calls to a remote qube."""

from ..facts import PropertyReset, PropertySet
from ..hooks import Hooks
from ..model.change import Change
from ..names import PropertyName, TagName

_PROPERTY = PropertyName("relayvm")


def _changed(change: Change, fact: PropertySet | PropertyReset) -> None:
    if fact.subject is None or fact.name != _PROPERTY:
        return
    qube = change.system.qubes[fact.subject]
    old, new = fact.old, change.system.value(qube, _PROPERTY)
    if isinstance(old, str) and old != new and f"relayvm-{old}" in qube.tags:
        change.remove_tag(qube, TagName(f"relayvm-{old}"))
    if isinstance(new, str):
        change.add_tag(qube, TagName(f"relayvm-{new}"))


def register(hooks: Hooks) -> None:
    """Register with the hooks."""
    hooks.rule(PropertySet, _changed)
    hooks.rule(PropertyReset, _changed)
