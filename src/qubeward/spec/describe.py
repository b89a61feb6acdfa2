"""admin.api.*: what this server can be asked."""

import json
from typing import Any, Final

from ..errors import ProtocolError
from ..untrusted import NOTHING, Codec
from .method import AnyMethod, Dest, Effect, Method, Scope, Since


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        raise ProtocolError("reply", "not JSON") from None


JSON: Final[Codec[Any]] = Codec(
    name="JSON",
    decode=_json,
    encode=lambda value: json.dumps(value, ensure_ascii=False).encode(),
    examples=({"methods": []},),
    rejects=(b"", b"{", b"\xff"),
)

DESCRIBE = Method(
    name="admin.api.Describe",
    dest=Dest.ADMIN,
    arg=NOTHING,
    payload=NOTHING,
    reply=JSON,
    effect=Effect.READ,
    scope=Scope.GLOBAL,
    since=Since.OURS,
    summary="Describe every call: destination, argument, payload, reply, effect and errors.",
)

METHODS: tuple[AnyMethod, ...] = (DESCRIBE,)
