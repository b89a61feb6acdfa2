"""admin.Events: which events a subscriber gets. The stream itself is `server/streams.py`'s."""

from collections.abc import Callable

from ..names import QubeName
from ..spec import event
from ..spec.classes import ADMIN_VM
from .call import AnyRoute, Call, Route

#: Tells of an event's subject (None: the system) and the qube it is about whether to send it.
Filter = Callable[[QubeName | None, QubeName | None], bool]


def wanted(call: Call[None, None]) -> Filter:
    """Return the filter of a subscriber: all that it may see, or one qube's events."""
    everything = call.dest.klass is ADMIN_VM
    only = call.dest.name
    admin, shows, qubes = call.system.admin, call.shows, call.system.qubes

    def passes(subject: QubeName | None, about: QubeName | None) -> bool:
        if not everything and subject != only:
            return False
        name = subject or about
        qube = admin if name is None else qubes.get(name)
        if qube is None:  # it is gone: only who sees everything may still hear of it
            return shows(admin)
        return shows(qube)

    return passes


def events(call: Call[None, None]) -> None:
    """Do nothing: the row is a stream, and the server serves it."""


ROUTES: tuple[AnyRoute, ...] = (Route(event.EVENTS, events),)
