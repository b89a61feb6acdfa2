"""admin.vm.tag.*"""

from ..errors import TagNotFoundError
from ..names import TagName
from ..spec import tag
from .call import AnyRoute, Call, Route


def list_(call: Call[TagName | None, None]) -> tuple[TagName, ...]:
    if call.arg is None:
        return tuple(sorted(call.dest.tags))
    if call.arg not in call.dest.tags:
        raise TagNotFoundError(call.dest.name, call.arg)
    return (call.arg,)


def get(call: Call[TagName, None]) -> bool:
    return call.arg in call.dest.tags


def set_(call: Call[TagName, None]) -> None:
    if call.arg not in call.dest.tags:
        with call.system.change(call.source.name) as change:
            change.add_tag(call.dest, call.arg)


def remove(call: Call[TagName, None]) -> None:
    if call.arg not in call.dest.tags:
        raise TagNotFoundError(call.dest.name, call.arg)
    with call.system.change(call.source.name) as change:
        change.remove_tag(call.dest, call.arg)


ROUTES: tuple[AnyRoute, ...] = (
    Route(tag.LIST, list_),
    Route(tag.GET, get),
    Route(tag.SET, set_),
    Route(tag.REMOVE, remove),
)
