"""Tags that let policy speak of a qube's GUI and sound qubes: `guivm-NAME`, `audiovm-NAME`."""

from ..facts import PropertyReset, PropertySet, QubeCreated
from ..hooks import Hooks
from ..model.change import Change
from ..model.qube import Qube
from ..names import PropertyName, TagName

_NAMES = (PropertyName("guivm"), PropertyName("audiovm"))


def _retag(change: Change, qube: Qube, name: PropertyName) -> None:
    value = change.system.value(qube, name)
    wanted = None if value is None else TagName(f"{name}-{value}")
    for tag in sorted(qube.tags):
        if tag.startswith(f"{name}-") and tag != wanted:
            change.remove_tag(qube, tag)
    if wanted is not None:
        change.add_tag(qube, wanted)


def _created(change: Change, fact: QubeCreated) -> None:
    assert fact.subject is not None  # noqa: S101  # a qube's fact has a subject
    qube = change.system.qubes[fact.subject]
    if qube.klass.runs:
        for name in _NAMES:
            _retag(change, qube, name)


def _changed(change: Change, fact: PropertySet | PropertyReset) -> None:
    if fact.subject is not None and fact.name in _NAMES:
        _retag(change, change.system.qubes[fact.subject], fact.name)


def _default_set(change: Change, fact: PropertySet) -> None:
    # As upstream: setting the default retags at once; resetting it leaves the tags until the
    # next change of either property (conformance vectors 875 and 1009).
    name = PropertyName(fact.name.removeprefix("default_"))
    if fact.subject is None and fact.name.startswith("default_") and name in _NAMES:
        for qube in tuple(change.system.qubes.values()):
            if qube.klass.runs and name not in qube.properties:
                _retag(change, qube, name)


def register(hooks: Hooks) -> None:
    """Register with the hooks."""
    hooks.rule(QubeCreated, _created)
    hooks.rule(PropertySet, _changed)
    hooks.rule(PropertyReset, _changed)
    hooks.rule(PropertySet, _default_set)
