"""Qubes with the tag `offline` have no netvm, and get none."""

from typing import Final

from qubeward.errors import ForbiddenError
from qubeward.facts import TagAdded
from qubeward.hooks import Asked, Hooks
from qubeward.model.change import Change
from qubeward.names import PropertyName, TagName

_TAG: Final = TagName("offline")
_NETVM: Final = PropertyName("netvm")


def _cut_off(change: Change, fact: TagAdded) -> None:
    """Take the netvm away in the change that adds the tag: both land, or neither."""
    if fact.tag == _TAG and fact.subject is not None:
        qube = change.system.qubes[fact.subject]
        if qube.klass.runs:
            change.set_property(qube, _NETVM, None)


def _stay_cut_off(asked: Asked) -> None:
    """Refuse to give a netvm to a qube that has the tag. `payload` is parsed: None is no qube."""
    if asked.arg == _NETVM and _TAG in asked.dest.tags and asked.payload is not None:
        raise ForbiddenError(f"a netvm for {asked.dest.name}, which is tagged {_TAG}")


def _keep_set(asked: Asked) -> None:
    """Refuse a reset too: the default may be a netvm."""
    if asked.arg == _NETVM and _TAG in asked.dest.tags:
        raise ForbiddenError(f"the default netvm for {asked.dest.name}, which is tagged {_TAG}")


def register(hooks: Hooks) -> None:
    """Register with the hooks."""
    hooks.rule(TagAdded, _cut_off)
    hooks.guard("admin.vm.property.Set", _stay_cut_off)
    hooks.guard("admin.vm.property.Reset", _keep_set)
