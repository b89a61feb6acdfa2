"""A call of one's own: how many tags a qube has."""

from typing import Final

from qubeward.api.call import Call, Route
from qubeward.spec.body import DECIMAL
from qubeward.spec.method import Dest, Effect, Method, Scope, Since
from qubeward.untrusted import NOTHING

COUNT: Final[Method[None, None, int]] = Method(
    name="admin.vm.tag.Count",
    dest=Dest.ANY,
    arg=NOTHING,
    payload=NOTHING,
    reply=DECIMAL,
    effect=Effect.READ,
    scope=Scope.LOCAL,
    since=Since.OURS,
    summary="Tell how many tags a qube has.",
)


def count(call: Call[None, None]) -> int:
    return len(call.dest.tags)


ROUTE: Final = Route(COUNT, count)
