"""admin.vmclass.* and admin.vm.*: which qubes there are, and their life."""

from ..errors import (
    AdminError,
    NoTemplateError,
    NotHaltedError,
    NotPausedError,
    NotRunningError,
    NotStartedError,
    OutOfMemoryError,
    PoolNotFoundError,
    PropertyValueError,
    ProtocolError,
    QubeError,
    QubeExistsError,
    QubeInUseError,
    QubeNotFoundError,
    ShutdownTimeoutError,
    StartFailedError,
    StorageError,
)
from ..names import QUBE
from ..untrusted import NOTHING
from .body import PRINTABLE, entry, lines
from .classes import APP_VM, CREATABLE, DISP_VM
from .method import AnyMethod, Dest, Effect, Method, PerDialect, Scope, Since, Stream
from .new_qube import NEW_CLONE, NEW_CLONE_IN_POOL, NEW_QUBE, NEW_QUBE_IN_POOL
from .vm_body import CLASS, DRAFT_ROW, FIGURES, R4_ROW, SHUTDOWN_OPTIONS, creator_arg

CLASS_LIST = Method(
    name="admin.vmclass.List",
    dest=Dest.ADMIN,
    arg=entry(CLASS),
    payload=NOTHING,
    reply=lines(CLASS),
    effect=Effect.READ,
    scope=Scope.GLOBAL,
    since=Since.DRAFT,
    summary="List the classes of qubes.",
)
LIST = Method(
    name="admin.vm.List",
    dest=Dest.ANY,
    arg=entry(QUBE),
    payload=NOTHING,
    reply=PerDialect(r4=lines(R4_ROW), draft=lines(DRAFT_ROW)),
    effect=Effect.READ,
    scope=Scope.GLOBAL,
    since=Since.DRAFT,
    summary="List the qubes that the caller may see, dom0 first; to a qube, only that one.",
)
_DEFAULT_BASES = {APP_VM.name: "default_template", DISP_VM.name: "default_dispvm"}
_CREATE_ERRORS = (
    QubeExistsError,
    QubeNotFoundError,
    ProtocolError,
    PropertyValueError,
    StorageError,
)
CREATE = {
    row.name: Method(
        name=f"admin.vm.Create.{row.name}",
        dest=Dest.ADMIN,
        arg=creator_arg(row),
        payload=NEW_QUBE,
        reply=NOTHING,
        effect=Effect.WRITE,
        scope=Scope.GLOBAL,
        since=Since.R4 if row.name == "RemoteVM" else Since.DRAFT,
        summary=f"Create a qube of class {row.name}."
        + (f" Without argument: from {_DEFAULT_BASES[row.name]}." if row.template else ""),
        errors=_CREATE_ERRORS,
    )
    for row in CREATABLE
}
CREATE_IN_POOL = {
    row.name: Method(
        name=f"admin.vm.CreateInPool.{row.name}",
        dest=Dest.ADMIN,
        arg=creator_arg(row),
        payload=NEW_QUBE_IN_POOL,
        reply=NOTHING,
        effect=Effect.WRITE,
        scope=Scope.GLOBAL,
        since=Since.R4 if row.name == "RemoteVM" else Since.DRAFT,
        summary=f"Create a qube of class {row.name}, with its volumes in the pools that are named.",
        errors=(*_CREATE_ERRORS, PoolNotFoundError),
    )
    for row in CREATABLE
}
CREATE_TEMPLATE = Method(
    name="admin.vm.CreateTemplate",
    dest=Dest.ADMIN,
    arg=QUBE,
    payload=Stream(NOTHING, "root.img"),
    reply=NOTHING,
    effect=Effect.WRITE,
    scope=Scope.GLOBAL,
    since=Since.DRAFT,
    summary="Create a template of this name, whose root volume is the payload.",
    errors=(QubeExistsError, StorageError),
)
_CLONE_ERRORS = (QubeExistsError, QubeInUseError, StorageError)
CLONE = Method(
    name="admin.vm.Clone",
    dest=Dest.QUBE,
    arg=NOTHING,
    payload=NEW_CLONE,
    reply=NOTHING,
    effect=Effect.WRITE,
    scope=Scope.GLOBAL,
    since=Since.DRAFT,
    summary="Create a qube like this one, with what its volumes held at its last stop.",
    errors=_CLONE_ERRORS,
)
CLONE_IN_POOL = Method(
    name="admin.vm.CloneInPool",
    dest=Dest.QUBE,
    arg=NOTHING,
    payload=NEW_CLONE_IN_POOL,
    reply=NOTHING,
    effect=Effect.WRITE,
    scope=Scope.GLOBAL,
    since=Since.DRAFT,
    summary="Do as Clone, with the new qube's volumes in the pools that are named.",
    errors=(*_CLONE_ERRORS, PoolNotFoundError),
)
REMOVE = Method(
    name="admin.vm.Remove",
    dest=Dest.ANY,
    arg=NOTHING,
    payload=NOTHING,
    reply=NOTHING,
    effect=Effect.WRITE,
    scope=Scope.GLOBAL,
    since=Since.DRAFT,
    summary="Remove a halted qube that nothing refers to, with its volumes.",
    errors=(QubeInUseError, NotHaltedError),
)


def _life(
    verb: str, summary: str, *errors: type[AdminError], effect: Effect = Effect.EXECUTE
) -> Method[None, None, None]:
    return Method(
        name=f"admin.vm.{verb}",
        dest=Dest.ANY,
        arg=NOTHING,
        payload=NOTHING,
        reply=NOTHING,
        effect=effect,
        scope=Scope.LOCAL,
        since=Since.DRAFT,
        summary=summary,
        errors=errors,
    )


START = _life(
    "Start",
    "Start a qube, and its netvm before it; returns when it is up.",
    NotHaltedError,
    StartFailedError,
    OutOfMemoryError,
    NoTemplateError,
)
SHUTDOWN = Method(
    name="admin.vm.Shutdown",
    dest=Dest.ANY,
    arg=SHUTDOWN_OPTIONS,
    payload=NOTHING,
    reply=NOTHING,
    effect=Effect.EXECUTE,
    scope=Scope.LOCAL,
    since=Since.DRAFT,
    summary="Ask a qube to power off; with `wait`, return when it is off.",
    errors=(NotStartedError, NotRunningError, QubeInUseError, ShutdownTimeoutError, QubeError),
)
KILL = _life("Kill", "End a qube at once.", NotStartedError, QubeError)
PAUSE = _life("Pause", "Stop a running qube's processors.", NotRunningError, QubeError)
UNPAUSE = _life("Unpause", "Let a paused qube run.", NotPausedError, QubeError)
CURRENT_STATE = Method(
    name="admin.vm.CurrentState",
    dest=Dest.ANY,
    arg=NOTHING,
    payload=NOTHING,
    reply=FIGURES,
    effect=Effect.READ,
    scope=Scope.LOCAL,
    since=Since.R4,
    summary="Tell a qube's state, memory and CPU time.",
)
CONSOLE = Method(
    name="admin.vm.Console",
    dest=Dest.ANY,
    arg=NOTHING,
    payload=NOTHING,
    reply=PRINTABLE,
    effect=Effect.WRITE,
    scope=Scope.LOCAL,
    since=Since.R4,
    summary="Tell the host's tty that is the qube's console; dom0 has none.",
    errors=(NotRunningError, QubeError),
)

METHODS: tuple[AnyMethod, ...] = (
    CLASS_LIST,
    LIST,
    *CREATE.values(),
    *CREATE_IN_POOL.values(),
    CREATE_TEMPLATE,
    CLONE,
    CLONE_IN_POOL,
    REMOVE,
    START,
    SHUTDOWN,
    KILL,
    PAUSE,
    UNPAUSE,
    CURRENT_STATE,
    CONSOLE,
)
