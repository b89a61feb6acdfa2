"""admin.vm.notes.*"""

from ..errors import QubeError
from ..model.qube import Qube
from ..spec import notes
from .call import AnyRoute, Call, Route


def _need_notes(qube: Qube) -> None:
    if not qube.klass.has_notes:
        raise QubeError(qube.name, "has no notes")


def get(call: Call[None, None]) -> str:
    _need_notes(call.dest)
    return call.dest.notes


def set_(call: Call[None, str]) -> None:
    _need_notes(call.dest)
    with call.system.change(call.source.name) as change:
        change.set_notes(call.dest, call.payload)


ROUTES: tuple[AnyRoute, ...] = (Route(notes.GET, get), Route(notes.SET, set_))
