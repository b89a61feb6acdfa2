"""May this call proceed? Parse everything, ask policy, and only then look anything up."""

from collections.abc import Mapping
from dataclasses import dataclass
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
from ..names import ADMIN, ADMIN_UUID, QUBE_REF, QubeRef, QubeUuid
from ..ops.world import World
from ..spec import AnyMethod
from ..spec.method import ByArgument, Dest, PerDialect
from ..untrusted import Codec, Untrusted
from ..wire.dialect import Dialect
from ..wire.request import Request


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
    `internal`: calls of the host's own programs come here, and no others.
    """

    dialect: Dialect
    judged: bool
    internal: bool = False


@dataclass(frozen=True, slots=True)
class Admission:
    """A route with the codecs of one dialect, and the guards that add-ons put before it."""

    route: AnyRoute
    arg: Codec[Any]
    payload: Codec[Any] | ByArgument[Any, Any]
    reply: Codec[Any]
    guards: tuple[Guard, ...]


def _spelled(codec: Any, dialect: Dialect) -> Any:
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


def _parse(text: Untrusted, codec: Codec[Any], what: str) -> Any:
    if not text and not codec.may_be_empty:
        raise ProtocolError("request", f"{what} missing")
    return text.parse(codec)


class Gate:
    """Admits calls. The order of its questions is part of the protocol (DESIGN §2)."""

    def __init__(self, world: World, policy: Policy, hooks: Hooks) -> None:
        self._world = world
        self._policy = policy
        self._by_dialect = {dialect: _admissions(dialect, hooks) for dialect in Dialect}

    def admit(self, request: Request, endpoint: Endpoint) -> tuple[Admission, Call[Any, Any]]:
        """Return the call with all that answers it, or raise the `AdminError` that refuses it."""
        system = self._world.system
        source_ref = request.source.parse(QUBE_REF)
        dest_ref = request.dest.parse(QUBE_REF)
        source = system.find(source_ref)
        is_admin = source.name == ADMIN
        if is_admin:
            system.find(dest_ref)
        admission = self._by_dialect[endpoint.dialect].get(request.method)
        if admission is None or admission.route.method.internal is not endpoint.internal:
            raise NoSuchMethodError(request.method.decode("ascii", "replace"))
        method = admission.route.method
        arg, payload = self._parsed(request, admission, dest_ref)
        if not (is_admin or endpoint.judged):
            self._judge(source, method, dest_ref, arg)
        try:
            dest = system.find(dest_ref)
        except QubeNotFoundError:
            if is_admin or endpoint.judged:
                raise
            raise PermissionDeniedError from None
        for guard in admission.guards:
            guard(Asked(system, source, method.name, dest, arg, payload))
        policy = self._policy

        def shows(subject: Qube) -> bool:
            return is_admin or policy.shows(source, method, subject)

        return admission, Call(source, dest, arg, payload, self._world, shows)

    def _parsed(
        self, request: Request, admission: Admission, dest: QubeRef
    ) -> tuple[object, object]:
        method = admission.route.method
        chosen = admission.payload
        # Presence comes before everything, and of the payload before that of the argument.
        if not isinstance(chosen, ByArgument) and not chosen.may_be_empty and not request.payload:
            raise ProtocolError("request", "payload missing")
        if not request.arg and not admission.arg.may_be_empty:
            raise ProtocolError("request", "argument missing")
        _check_dest(method, dest)
        arg = _parse(request.arg, admission.arg, "argument")
        codec = chosen.choose(arg) if isinstance(chosen, ByArgument) else chosen
        return arg, _parse(request.payload, codec, "payload")

    def _judge(self, source: Qube, method: AnyMethod, dest: QubeRef, arg: object) -> None:
        if not self._policy.allows(source, method, dest, arg):
            raise PermissionDeniedError


def _check_dest(method: AnyMethod, dest: QubeRef) -> None:
    is_admin = dest in (ADMIN, QubeUuid(ADMIN_UUID))
    if method.dest is Dest.ADMIN and not is_admin:
        raise ProtocolError("destination", "allowed: dom0")
    if method.dest is Dest.QUBE and is_admin:
        raise ProtocolError("destination", "dom0 is not allowed")
