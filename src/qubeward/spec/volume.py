"""admin.vm.volume.*, and the calls behind the host's own import and export programs.

`internal.vm.volume.ImportBegin` and `ImportEnd` (ADMIN-API §1.10) let a program of the host fill a
volume: begin, write the file that the reply names, end. `ExportBegin` and `ExportEnd` let it read
one. They are for the internal socket alone.
"""

from typing import TypeVar

from ..errors import (
    AdminError,
    BadValueError,
    ForbiddenError,
    HypervisorError,
    NotHaltedError,
    QubeInUseError,
    StorageError,
    VolumeTokenError,
)
from ..names import REVISION, VolumeName
from ..untrusted import NOTHING, Codec
from .body import BOOLEAN, SIZE, WIDE_SIZE, entry, lines, optional
from .method import AnyMethod, Dest, Effect, Method, PerDialect, Scope, Since, Stream
from .volume_body import DATED, INFO, RESULT, REVISIONS_TO_KEEP, TARGET, TOKEN, VOLUME

P = TypeVar("P")
R = TypeVar("R")


def _row(
    name: str,
    summary: str,
    *errors: type[AdminError],
    payload: Codec[P] | Stream[P],
    reply: Codec[R] | PerDialect[R],
    effect: Effect = Effect.WRITE,
    since: Since = Since.R4,
    internal: bool = False,
) -> Method[VolumeName, P, R]:
    """Return a row of the family: about one volume, which the argument names."""
    return Method(
        name=f"{'internal' if internal else 'admin'}.vm.volume.{name}",
        dest=Dest.QUBE if internal else Dest.ANY,
        arg=VOLUME,
        payload=payload,
        reply=reply,
        effect=effect,
        scope=Scope.LOCAL,
        since=since,
        summary=summary,
        errors=(ForbiddenError, *errors),
        internal=internal,
    )


LIST = Method(
    name="admin.vm.volume.List",
    dest=Dest.ANY,
    arg=entry(VOLUME),
    payload=NOTHING,
    reply=lines(VOLUME),
    effect=Effect.READ,
    scope=Scope.LOCAL,
    since=Since.DRAFT,
    summary="List the volumes of a qube, in the order of its disks.",
    errors=(ForbiddenError,),
)
INFO_ = _row(
    "Info",
    "Tell of a volume: where it is, how large, and what kind.",
    StorageError,
    payload=NOTHING,
    reply=INFO,
    effect=Effect.READ,
    since=Since.DRAFT,
)
LIST_SNAPSHOTS = _row(
    "ListSnapshots",
    "List the snapshots that are kept of a volume, oldest first.",
    StorageError,
    payload=NOTHING,
    reply=lines(REVISION),
    effect=Effect.READ,
    since=Since.DRAFT,
)
SNAPSHOT_TIMES = _row(
    "SnapshotTimes",
    "List the snapshots that are kept of a volume, each with the time of its content.",
    StorageError,
    payload=NOTHING,
    reply=lines(DATED),
    effect=Effect.READ,
    since=Since.OURS,
)
SNAPSHOT = _row(
    "Snapshot",
    "Keep what a saved volume was at its last stop as a snapshot, and name that.",
    StorageError,
    payload=NOTHING,
    reply=REVISION,
    since=Since.DRAFT,
)
REVERT = _row(
    "Revert",
    "Make a halted qube's volume what it was at a snapshot.",
    StorageError,
    QubeInUseError,
    payload=REVISION,
    reply=NOTHING,
    since=Since.DRAFT,
)
RESIZE = _row(
    "Resize",
    "Make a volume larger, also while its qube runs. None is ever made smaller.",
    StorageError,
    HypervisorError,
    QubeInUseError,
    payload=WIDE_SIZE,
    reply=NOTHING,
    since=Since.DRAFT,
)
IMPORT = _row(
    "Import",
    "Replace a halted qube's volume by raw data of exactly its size.",
    StorageError,
    NotHaltedError,
    QubeInUseError,
    payload=Stream(NOTHING, "raw volume data"),
    reply=NOTHING,
    since=Since.DRAFT,
)
IMPORT_WITH_SIZE = _row(
    "ImportWithSize",
    "Replace a halted qube's volume by raw data of the size that is given first.",
    StorageError,
    NotHaltedError,
    QubeInUseError,
    payload=Stream(SIZE, "raw volume data", is_line=True),
    reply=NOTHING,
)
CLEAR = _row(
    "Clear",
    "Empty a halted qube's volume; its size stays.",
    StorageError,
    NotHaltedError,
    QubeInUseError,
    payload=NOTHING,
    reply=NOTHING,
)
CLONE_FROM = _row(
    "CloneFrom",
    "Give a token, good for one CloneTo within an hour, that stands for the volume.",
    payload=NOTHING,
    reply=TOKEN,
)
CLONE_TO = _row(
    "CloneTo",
    "Replace a halted qube's volume by a copy of the one that a token stands for.",
    StorageError,
    NotHaltedError,
    QubeInUseError,
    VolumeTokenError,
    payload=TOKEN,
    reply=NOTHING,
)
SET_REVISIONS_TO_KEEP = _row(
    "Set.revisions_to_keep",
    "Say how many snapshots a volume keeps; -1: none is ever taken, not even while it is used.",
    StorageError,
    BadValueError,
    NotHaltedError,
    payload=REVISIONS_TO_KEEP,
    reply=NOTHING,
)
SET_RW = _row(
    "Set.rw",
    "Say whether a halted qube may write to a volume.",
    NotHaltedError,
    payload=BOOLEAN,
    reply=NOTHING,
)
SET_EPHEMERAL = _row(
    "Set.ephemeral",
    "Say whether a volatile volume is encrypted with a key that nobody keeps.",
    BadValueError,
    payload=BOOLEAN,
    reply=NOTHING,
)
IMPORT_BEGIN = _row(
    "ImportBegin",
    "Begin to replace a volume's content, of a given size or the volume's own.",
    NotHaltedError,
    QubeInUseError,
    StorageError,
    payload=optional(SIZE),
    reply=TARGET,
    internal=True,
)
IMPORT_END = _row(
    "ImportEnd",
    "End an import: switch to the new content at once, or drop it.",
    StorageError,
    payload=RESULT,
    reply=NOTHING,
    internal=True,
)
EXPORT_BEGIN = _row(
    "ExportBegin",
    "Tell where the content of a saved volume, as of its last stop, can be read as raw data.",
    StorageError,
    QubeInUseError,
    payload=NOTHING,
    reply=TARGET,
    effect=Effect.READ,
    since=Since.OURS,
    internal=True,
)
EXPORT_END = _row(
    "ExportEnd",
    "End an export: what was made for it goes away.",
    StorageError,
    payload=NOTHING,
    reply=NOTHING,
    effect=Effect.READ,
    since=Since.OURS,
    internal=True,
)

METHODS: tuple[AnyMethod, ...] = (
    LIST,
    INFO_,
    LIST_SNAPSHOTS,
    SNAPSHOT_TIMES,
    SNAPSHOT,
    REVERT,
    RESIZE,
    IMPORT,
    IMPORT_WITH_SIZE,
    CLEAR,
    CLONE_FROM,
    CLONE_TO,
    SET_REVISIONS_TO_KEEP,
    SET_RW,
    SET_EPHEMERAL,
    IMPORT_BEGIN,
    IMPORT_END,
    EXPORT_BEGIN,
    EXPORT_END,
)
