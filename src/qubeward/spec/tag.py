"""admin.vm.tag.*"""

from ..errors import TagNotFoundError
from ..names import TAG
from ..untrusted import NOTHING
from .body import FLAG, entry, lines
from .method import AnyMethod, Dest, Effect, Method, Scope, Since

LIST = Method(
    name="admin.vm.tag.List",
    dest=Dest.ANY,
    arg=entry(TAG),
    payload=NOTHING,
    reply=lines(TAG),
    effect=Effect.READ,
    scope=Scope.LOCAL,
    since=Since.DRAFT,
    summary="List the tags of a qube, sorted.",
)
GET = Method(
    name="admin.vm.tag.Get",
    dest=Dest.ANY,
    arg=TAG,
    payload=NOTHING,
    reply=FLAG,
    effect=Effect.READ,
    scope=Scope.LOCAL,
    since=Since.DRAFT,
    summary="Say whether a qube has a tag.",
)
SET = Method(
    name="admin.vm.tag.Set",
    dest=Dest.ANY,
    arg=TAG,
    payload=NOTHING,
    reply=NOTHING,
    effect=Effect.WRITE,
    scope=Scope.LOCAL,
    since=Since.DRAFT,
    summary="Add a tag to a qube. Adding one that it has changes nothing.",
)
REMOVE = Method(
    name="admin.vm.tag.Remove",
    dest=Dest.ANY,
    arg=TAG,
    payload=NOTHING,
    reply=NOTHING,
    effect=Effect.WRITE,
    scope=Scope.LOCAL,
    since=Since.DRAFT,
    summary="Take a tag off a qube.",
    errors=(TagNotFoundError,),
)

METHODS: tuple[AnyMethod, ...] = (LIST, GET, SET, REMOVE)
