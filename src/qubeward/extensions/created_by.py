"""Who made a qube: the tag `created-by-SOURCE`, and what the maker gives to what it makes."""

from contextlib import suppress

from ..errors import ForbiddenError, InvalidTagError
from ..facts import QubeCreated
from ..hooks import Asked, Hooks
from ..model.change import Change
from ..names import ADMIN, TAG, FeatureName, PropertyName, QubeName, TagName

_PREFIX = "created-by-"
_TAGS = FeatureName("tag-created-vm-with")
_GUIVM = FeatureName("set-created-guivm")


def _created(change: Change, fact: QubeCreated) -> None:
    assert fact.subject is not None  # noqa: S101  # a qube's fact has a subject
    qube, maker = change.system.qubes[fact.subject], change.system.qubes[fact.by]
    change.add_tag(qube, TagName(_PREFIX + fact.by))
    for word in maker.features.get(_TAGS, "").split():
        # A feature's value is any text: what is no tag, or would name another maker, is no wish.
        with suppress(InvalidTagError):
            tag = TAG.decode(word.encode())
            if not tag.startswith(_PREFIX):
                change.add_tag(qube, tag)
    guivm = maker.features.get(_GUIVM)
    if guivm and guivm in change.system.qubes and qube.klass.runs:
        change.set_property(qube, PropertyName("guivm"), QubeName(guivm))


def _only_admin(asked: Asked) -> None:
    if str(asked.arg).startswith(_PREFIX) and asked.source.name != ADMIN:
        raise ForbiddenError(f"{_PREFIX}* is set when a qube is made")


def register(hooks: Hooks) -> None:
    """Register with the hooks."""
    hooks.rule(QubeCreated, _created)
    hooks.guard("admin.vm.tag.Set", _only_admin)
    hooks.guard("admin.vm.tag.Remove", _only_admin)
