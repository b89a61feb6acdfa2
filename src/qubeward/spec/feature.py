"""admin.vm.feature.*"""

import re
from typing import Final

from ..errors import FeatureNotFoundError, ProtocolError
from ..names import FeatureName
from ..untrusted import NOTHING, Codec
from .body import PRINTABLE, entry, lines, word
from .method import AnyMethod, Dest, Effect, Method, Scope, Since

_NAME = re.compile(rb"[a-zA-Z0-9_.-]+")


def _name(raw: bytes) -> FeatureName:
    if not _NAME.fullmatch(raw):
        raise ProtocolError("feature name", "allowed: one or more of [a-zA-Z0-9_.-]")
    return FeatureName(raw.decode("ascii"))


FEATURE: Final[Codec[FeatureName]] = Codec(
    name="feature",
    decode=_name,
    encode=lambda name: name.encode("ascii"),
    examples=(FeatureName("service.cups"), FeatureName("os")),
    rejects=(b"", b"a/b", b"a:b", b"a+b", b"\xff"),
)
#: A name that is only looked up: one out of the grammar is not found, as in R4.
LOOKED_UP = word("feature", FeatureName, FeatureName("service.cups"))


def _check(kind: str, falls_back_to: str) -> Method[FeatureName, None, str]:
    return Method(
        name=f"admin.vm.feature.CheckWith{kind}",
        dest=Dest.ANY,
        arg=LOOKED_UP,
        payload=NOTHING,
        reply=PRINTABLE,
        effect=Effect.READ,
        scope=Scope.LOCAL,
        since=Since.DRAFT if kind == "Template" else Since.R4,
        summary=f"Read a feature of a qube; if it is absent, of {falls_back_to}.",
        errors=(FeatureNotFoundError,),
    )


LIST = Method(
    name="admin.vm.feature.List",
    dest=Dest.ANY,
    arg=entry(FEATURE),
    payload=NOTHING,
    reply=lines(FEATURE),
    effect=Effect.READ,
    scope=Scope.LOCAL,
    since=Since.DRAFT,
    summary="List the features of a qube, oldest first.",
)
GET = Method(
    name="admin.vm.feature.Get",
    dest=Dest.ANY,
    arg=LOOKED_UP,
    payload=NOTHING,
    reply=PRINTABLE,
    effect=Effect.READ,
    scope=Scope.LOCAL,
    since=Since.DRAFT,
    summary="Read a feature of a qube.",
    errors=(FeatureNotFoundError,),
)
CHECK_WITH_TEMPLATE = _check("Template", "its template, and of that one's template")
CHECK_WITH_NETVM = _check("Netvm", "its netvm, and of that one's netvm")
CHECK_WITH_ADMIN = _check("AdminVM", "dom0")
CHECK_WITH_TEMPLATE_AND_ADMIN = _check("TemplateAndAdminVM", "its template, then of dom0")
SET = Method(
    name="admin.vm.feature.Set",
    dest=Dest.ANY,
    arg=FEATURE,
    payload=PRINTABLE,
    reply=NOTHING,
    effect=Effect.WRITE,
    scope=Scope.LOCAL,
    since=Since.DRAFT,
    summary="Set a feature of a qube. The empty value means false.",
)
REMOVE = Method(
    name="admin.vm.feature.Remove",
    dest=Dest.ANY,
    arg=LOOKED_UP,
    payload=NOTHING,
    reply=NOTHING,
    effect=Effect.WRITE,
    scope=Scope.LOCAL,
    since=Since.DRAFT,
    summary="Make a feature of a qube absent.",
    errors=(FeatureNotFoundError,),
)

METHODS: tuple[AnyMethod, ...] = (
    LIST,
    GET,
    CHECK_WITH_TEMPLATE,
    CHECK_WITH_NETVM,
    CHECK_WITH_ADMIN,
    CHECK_WITH_TEMPLATE_AND_ADMIN,
    SET,
    REMOVE,
)
