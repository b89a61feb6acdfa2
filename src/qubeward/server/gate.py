"""May this call proceed? Parse everything, ask policy, and only then look anything up."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from ..api import ROUTES
from ..api.call import AnyRoute, Call
from ..errors import (
    NoSuchMethodError,
    PermissionDeniedError,
    ProtocolError,
    QubeNotFoundError,
)
from ..hooks import Asked, Guard, Hooks
from ..model.qube import Qube
from ..names import ADMIN, ADMIN_UUID, QUBE_REF, QubeName, QubeRef, QubeUuid
from ..ops.incoming import NOTHING_INCOMING, Incoming
from ..ops.world import World
from ..spec import AnyMethod
from ..spec.method import ByArgument, Dest, PerDialect, Stream
from ..untrusted import Codec, Untrusted
from ..wire.dialect import Dialect
from ..wire.request import Head, Request

_ADMIN_REFS = (ADMIN, QubeUuid(ADMIN_UUID))


class Policy(Protocol):
    """Decides a call from what was parsed, before any lookup."""

    def allows(self, source: Qube, method: AnyMethod, dest: QubeRef, arg: object) -> bool:
        """Return whether the source may make the call."""

    def shows(self, source: Qube, method: AnyMethod, subject: Qube) -> bool:
        """Return whether lists and events of the method may tell the source of the subject."""


class OnlyAdmin:
    """The policy without any rule: dom0 may do everything, and nobody else anything."""

    def allows(self, source: Qube, method: AnyMethod, dest: QubeRef, arg: object) -> bool:
        """Return whether the source is dom0."""
        return source.name == ADMIN

    def shows(self, source: Qube, method: AnyMethod, subject: Qube) -> bool:
        """Return whether the source is dom0."""
        return source.name == ADMIN


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a call came in.

    `judged`: who writes to this endpoint has all authority over it, and names the source on whose
    behalf it calls (the administrator's sockets). Lists and events are filtered for that source.
    `internal`: calls of the host's own programs come here, and no others. `source`: the one qube
    that this endpoint was made for; whoever the bytes name, the call is that qube's.
    """

    dialect: Dialect
    judged: bool
    internal: bool = False
    source: QubeName | None = None


@dataclass(frozen=True, slots=True)
class Admission:
    """A route with the codecs of one dialect, and the guards that add-ons put before it."""

    route: AnyRoute
    arg: Codec[Any]
    payload: Codec[Any] | ByArgument[Any, Any]  # of a stream, its head's
    reply: Codec[Any]
    guards: tuple[Guard, ...]


def _spelled(codec: Any, dialect: Dialect) -> Any:
    if isinstance(codec, Stream):
        return codec.head
    if not isinstance(codec, PerDialect):
        return codec
    return codec.r4 if dialect is Dialect.R4 else codec.draft


def _admissions(dialect: Dialect, hooks: Hooks) -> Mapping[bytes, Admission]:
    return {
        name.encode("ascii"): Admission(
            route,
            _spelled(route.method.arg, dialect),
            _spelled(route.method.payload, dialect),
            _spelled(route.method.reply, dialect),
            hooks.guards(name),
        )
        for name, route in ROUTES.items()
    }


def _heads() -> Mapping[bytes, Head]:
    rows = ((name, route.method.payload) for name, route in ROUTES.items())
    return {
        name.encode("ascii"): Head.LINE if payload.is_line else Head.NOTHING
        for name, payload in rows
        if isinstance(payload, Stream)
    }


#: Methods whose payload is a stream, and how much of it is wanted to judge the call.
HEADS: Mapping[bytes, Head] = _heads()


def _check_present(text: Untrusted, codec: Codec[Any], what: str) -> None:
    if not codec.may_be_empty and not text:
        raise ProtocolError("request", f"{what} missing")


def _everything(_subject: Qube) -> bool:
    return True


class Gate:
    """Admits calls. The order of its questions is part of the protocol (DESIGN §2)."""

    def __init__(self, world: World, policy: Policy, hooks: Hooks) -> None:
        self._world = world
        self._policy = policy
        self._by_dialect = {dialect: _admissions(dialect, hooks) for dialect in Dialect}

    def admit(
        self, request: Request, endpoint: Endpoint, incoming: Incoming = NOTHING_INCOMING
    ) -> tuple[Admission, Call[Any, Any]]:
        """Return the call with all that answers it, or raise the `AdminError` that refuses it.

        `incoming` is the rest of a payload that is a stream; nothing of it is looked at.
        """
        system = self._world.system
        named = request.source.parse(QUBE_REF)
        dest_ref = request.dest.parse(QUBE_REF)
        source = system.find(named if endpoint.source is None else endpoint.source)
        is_admin = source.name == ADMIN
        dest = system.find(dest_ref) if is_admin else None
        admission = self._by_dialect[endpoint.dialect].get(request.method)
        if admission is None or admission.route.method.internal is not endpoint.internal:
            raise NoSuchMethodError(request.method.decode("ascii", "replace"))
        method = admission.route.method
        arg, payload = self._parsed(request, admission, dest_ref)
        if dest is None:
            dest = self._judged(source, method, dest_ref, arg, endpoint)
        for guard in admission.guards:
            guard(Asked(system, source, method.name, dest, arg, payload))
        shows = _everything if is_admin else partial(self._policy.shows, source, method)
        call = Call(source, dest, arg, payload, self._world, shows, incoming)
        return admission, call

    def _parsed(
        self, request: Request, admission: Admission, dest: QubeRef
    ) -> tuple[object, object]:
        method = admission.route.method
        chosen = admission.payload
        # Presence comes before everything, and of the payload before that of the argument.
        if not isinstance(chosen, ByArgument):
            _check_present(request.payload, chosen, "payload")
        _check_present(request.arg, admission.arg, "argument")
        _check_dest(method, dest)
        arg = request.arg.parse(admission.arg)
        if isinstance(chosen, ByArgument):
            chosen = chosen.choose(arg)
            _check_present(request.payload, chosen, "payload")
        return arg, request.payload.parse(chosen)

    def _judged(
        self, source: Qube, method: AnyMethod, dest: QubeRef, arg: object, endpoint: Endpoint
    ) -> Qube:
        if not endpoint.judged and not self._policy.allows(source, method, dest, arg):
            raise PermissionDeniedError
        try:
            return self._world.system.find(dest)
        except QubeNotFoundError:
            if endpoint.judged:
                raise
            raise PermissionDeniedError from None


def _check_dest(method: AnyMethod, dest: QubeRef) -> None:
    if method.dest is Dest.ANY:
        return
    is_admin = dest in _ADMIN_REFS
    if method.dest is Dest.ADMIN and not is_admin:
        raise ProtocolError("destination", "allowed: dom0")
    if method.dest is Dest.QUBE and is_admin:
        raise ProtocolError("destination", "dom0 is not allowed")
