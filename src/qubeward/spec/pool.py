"""admin.pool.* and admin.pool.volume.*: where volumes are kept.

The calls of a pool's volumes name a volume by its vid, the first word of the payload, and mean
what those of `admin.vm.volume.*` mean.
"""

from dataclasses import dataclass
from typing import Final, TypeVar

from ..errors import (
    AdminError,
    BadValueError,
    ForbiddenError,
    HypervisorError,
    MissingOptionError,
    NotHaltedError,
    PoolInUseError,
    ProtocolError,
    QubeInUseError,
    StorageError,
    VolumeTokenError,
)
from ..names import POOL, REVISION, PoolName
from ..untrusted import NOTHING, Codec
from .body import BOOLEAN, PAIR, WIDE_SIZE, entry, known, lines
from .method import AnyMethod, Dest, Effect, Method, PerDialect, Scope, Since, Stream
from .volume_body import INFO, REVISIONS_TO_KEEP, TOKEN, VID, of_volume

P = TypeVar("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class NewPool:
    """What a pool is to be: its name, and the options of its driver."""

    name: PoolName
    options: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class DriverOptions:
    """A storage driver, and the options that a pool of it may have."""

    name: str
    options: tuple[str, ...]


def _new_pool(raw: bytes) -> NewPool:
    pairs = [PAIR.decode(line) for line in raw.removesuffix(b"\n").split(b"\n")]
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ProtocolError("payload", "allowed: each option once")
    if "name" not in found:
        raise ProtocolError("payload", "expected: name=, and the driver's options")
    name = POOL.decode(found.pop("name").encode())
    return NewPool(name, tuple(found.items()))


def _spell_pool(pool: NewPool) -> bytes:
    return b"\n".join(PAIR.encode(pair) for pair in (("name", pool.name), *pool.options))


def _driver(raw: bytes) -> DriverOptions:
    words = raw.decode("ascii").split(" ") if raw.isascii() else []
    if not words or not all(words):
        raise ProtocolError("driver", "expected: name, and the names of its options")
    return DriverOptions(words[0], tuple(words[1:]))


NEW_POOL: Final[Codec[NewPool]] = Codec(
    name="name=N\\noption=value\\n",
    decode=_new_pool,
    encode=_spell_pool,
    examples=(NewPool(PoolName("ssd"), (("dir_path", "/srv/ssd"),)),),
    rejects=(
        b"",
        b"garbage",
        b"dir_path=/x",
        b"name=x\nname=y\ndir_path=/y",
        b"name=bad name\ndir_path=/y",
        b"name=\ndir_path=/y",
        b"name=x\n\ndir_path=/y",
        b"name=x\ndir_path=/\xff",
        b"name=x\ndir_path=/\x00",
    ),
)
DRIVER: Final[Codec[DriverOptions]] = Codec(
    name="driver option…",
    decode=_driver,
    encode=lambda driver: " ".join((driver.name, *driver.options)).encode("ascii"),
    examples=(DriverOptions("file", ("dir_path", "revisions_to_keep")),),
    rejects=(b"", b"a  b"),
)
#: A pool that exists: whatever else is named is answered as R4 does, by PermissionDenied.
KNOWN: Final = known("pool", PoolName, PoolName("varlibqubes"))
DRIVER_NAME: Final = known("driver", str, "file")
PROPERTIES: Final = lines(PAIR)


def _row(
    name: str,
    summary: str,
    *errors: type[AdminError],
    payload: Codec[P] | Stream[P],
    reply: Codec[R] | PerDialect[R],
    effect: Effect = Effect.WRITE,
    since: Since = Since.DRAFT,
) -> Method[PoolName, P, R]:
    """Return a row of the family: about one pool, which the argument names."""
    return Method(
        name=f"admin.pool.{name}",
        dest=Dest.ADMIN,
        arg=KNOWN,
        payload=payload,
        reply=reply,
        effect=effect,
        scope=Scope.GLOBAL,
        since=since,
        summary=summary,
        errors=(ForbiddenError, *errors),
    )


LIST = Method(
    name="admin.pool.List",
    dest=Dest.ADMIN,
    arg=entry(KNOWN),
    payload=NOTHING,
    reply=lines(POOL),
    effect=Effect.READ,
    scope=Scope.GLOBAL,
    since=Since.DRAFT,
    summary="List the storage pools, oldest first.",
    errors=(ForbiddenError,),
)
LIST_DRIVERS = Method(
    name="admin.pool.ListDrivers",
    dest=Dest.ADMIN,
    arg=NOTHING,
    payload=NOTHING,
    reply=lines(DRIVER),
    effect=Effect.READ,
    scope=Scope.GLOBAL,
    since=Since.DRAFT,
    summary="List the storage drivers, each with the options that a pool of it may have.",
)
INFO_ = _row(
    "Info",
    "Tell of a pool: its options, and where they are known its size, usage and surrounding pool.",
    payload=NOTHING,
    reply=PROPERTIES,
    effect=Effect.READ,
)
USAGE_DETAILS = _row(
    "UsageDetails",
    "Tell the size and usage of a pool's data, and of its metadata where that is apart.",
    StorageError,
    payload=NOTHING,
    reply=PROPERTIES,
    effect=Effect.READ,
    since=Since.R4,
)
ADD = Method(
    name="admin.pool.Add",
    dest=Dest.ADMIN,
    arg=DRIVER_NAME,
    payload=NEW_POOL,
    reply=NOTHING,
    effect=Effect.WRITE,
    scope=Scope.GLOBAL,
    since=Since.DRAFT,
    summary="Add a storage pool of a driver.",
    errors=(
        ForbiddenError,
        PoolInUseError,
        ProtocolError,
        MissingOptionError,
        BadValueError,
        StorageError,
    ),
)
REMOVE = _row(
    "Remove",
    "Remove a pool that keeps no volume and is nobody's default; what is on its disk stays there.",
    PoolInUseError,
    payload=NOTHING,
    reply=NOTHING,
)
SET_REVISIONS_TO_KEEP = _row(
    "Set.revisions_to_keep",
    "Say how many snapshots the volumes keep that are made in a pool from now on.",
    BadValueError,
    payload=REVISIONS_TO_KEEP,
    reply=NOTHING,
    since=Since.R4,
)
SET_EPHEMERAL_VOLATILE = _row(
    "Set.ephemeral_volatile",
    "Say whether volatile volumes in a pool are encrypted with a key that nobody keeps.",
    payload=BOOLEAN,
    reply=NOTHING,
    since=Since.R4,
)

VOLUME_LIST = _row(
    "volume.List",
    "List the volumes of qubes that are kept in a pool.",
    StorageError,
    payload=NOTHING,
    reply=lines(VID),
    effect=Effect.READ,
)
VOLUME_INFO = _row(
    "volume.Info",
    "Tell of a volume: where it is, how large, and what kind.",
    StorageError,
    payload=VID,
    reply=INFO,
    effect=Effect.READ,
)
VOLUME_LIST_SNAPSHOTS = _row(
    "volume.ListSnapshots",
    "List the snapshots that are kept of a volume, oldest first.",
    StorageError,
    payload=VID,
    reply=lines(REVISION),
    effect=Effect.READ,
)
VOLUME_SNAPSHOT = _row(
    "volume.Snapshot",
    "Keep what a saved volume was at its last stop as a snapshot, and name that.",
    StorageError,
    payload=VID,
    reply=REVISION,
)
VOLUME_REVERT = _row(
    "volume.Revert",
    "Make a halted qube's volume what it was at a snapshot.",
    StorageError,
    QubeInUseError,
    payload=of_volume(REVISION),
    reply=NOTHING,
)
VOLUME_RESIZE = _row(
    "volume.Resize",
    "Make a volume larger, also while its qube runs. None is ever made smaller.",
    StorageError,
    HypervisorError,
    QubeInUseError,
    payload=of_volume(WIDE_SIZE),
    reply=NOTHING,
)
VOLUME_IMPORT = _row(
    "volume.Import",
    "Replace a halted qube's volume by raw data of exactly its size.",
    StorageError,
    NotHaltedError,
    QubeInUseError,
    payload=Stream(VID, "raw volume data", is_line=True),
    reply=NOTHING,
)
VOLUME_SET_REVISIONS_TO_KEEP = _row(
    "volume.Set.revisions_to_keep",
    "Say how many snapshots a volume keeps; -1: none is ever taken, not even while it is used.",
    StorageError,
    BadValueError,
    NotHaltedError,
    payload=of_volume(REVISIONS_TO_KEEP),
    reply=NOTHING,
    since=Since.R4,
)
VOLUME_CLONE_FROM = _row(
    "volume.CloneFrom",
    "Give a token, good for one CloneTo within an hour, that stands for the volume.",
    StorageError,
    payload=VID,
    reply=TOKEN,
    since=Since.R4,
)
VOLUME_CLONE_TO = _row(
    "volume.CloneTo",
    "Replace a halted qube's volume by a copy of the one that a token stands for.",
    StorageError,
    NotHaltedError,
    QubeInUseError,
    VolumeTokenError,
    payload=of_volume(TOKEN),
    reply=NOTHING,
    since=Since.R4,
)

METHODS: tuple[AnyMethod, ...] = (
    LIST,
    LIST_DRIVERS,
    INFO_,
    USAGE_DETAILS,
    ADD,
    REMOVE,
    SET_REVISIONS_TO_KEEP,
    SET_EPHEMERAL_VOLATILE,
    VOLUME_LIST,
    VOLUME_INFO,
    VOLUME_LIST_SNAPSHOTS,
    VOLUME_SNAPSHOT,
    VOLUME_REVERT,
    VOLUME_RESIZE,
    VOLUME_IMPORT,
    VOLUME_SET_REVISIONS_TO_KEEP,
    VOLUME_CLONE_FROM,
    VOLUME_CLONE_TO,
)
