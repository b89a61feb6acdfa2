"""What creators and cloners of qubes ask for: types and their codecs."""

from dataclasses import dataclass
from typing import Final

from ..errors import ProtocolError
from ..names import LABEL, QUBE, LabelName, PoolName, QubeName
from ..untrusted import Codec
from .vm_body import fields

#: Which pool each volume is to be in: by its name, or by no name for all of them.
Pools = tuple[tuple[str, PoolName], ...]


@dataclass(frozen=True, slots=True)
class NewQube:
    """What a creator asks for. `pools` are those that were named; the others have a default."""

    name: QubeName
    label: LabelName
    pools: Pools = ()


@dataclass(frozen=True, slots=True)
class NewClone:
    """What a cloner asks for."""

    name: QubeName
    pools: Pools = ()


def _new_qube(raw: bytes) -> NewQube:
    found = fields(raw, "payload")
    if found.keys() != {"name", "label"}:
        raise ProtocolError("payload", "expected name= and label=")
    return NewQube(QUBE.decode(found["name"].encode()), LABEL.decode(found["label"].encode()))


NEW_QUBE: Final[Codec[NewQube]] = Codec(
    name="name=N label=L",
    decode=_new_qube,
    encode=lambda new: f"name={new.name} label={new.label}".encode(),
    examples=(NewQube(QubeName("new"), LabelName("red")),),
    rejects=(
        b"",
        b"garbage",
        b"name=new",
        b"label=red",
        b"name=new label=red foo=bar",
        b"name=new name=other label=red",
        b"name=new label=red ",
        b"name=new  label=red",
        b"name=new\tlabel=red",
        b"name=new label=\xff",
        b"name=1new label=red",
        b"name= label=red",
        b"name=new label=3",
    ),
)


#: Volumes that may be put into a pool by name (ADMIN-API §1.1).
_PLACED: Final = ("root", "private", "volatile", "kernel")


def _pools(found: dict[str, str]) -> Pools:
    """Return the pools that are left in the fields; anything else there is an error."""
    every = found.pop("pool", None)
    chosen: Pools = ()
    for key, value in found.items():
        prefix, colon, volume = key.partition(":")
        if prefix != "pool" or not colon or volume not in _PLACED:
            raise ProtocolError("payload", "allowed: pool=, or pool:VOLUME= for single volumes")
        chosen = (*chosen, (volume, PoolName(value)))
    if every is None:
        return chosen
    if chosen:
        raise ProtocolError("payload", "allowed: either pool= or pool:VOLUME=")
    return (("", PoolName(every)),)


def _spell_pools(pools: Pools) -> str:
    return "".join(
        f" pool:{volume}={pool}" if volume else f" pool={pool}" for volume, pool in pools
    )


def _take_name(found: dict[str, str]) -> QubeName:
    if "name" not in found:
        raise ProtocolError("payload", "expected: name=")
    return QUBE.decode(found.pop("name").encode())


def _new_in_pool(raw: bytes) -> NewQube:
    found = fields(raw, "payload")
    if "label" not in found:
        raise ProtocolError("payload", "expected: name= and label=")
    label = found.pop("label").encode()
    name = _take_name(found)
    return NewQube(name, LABEL.decode(label), _pools(found))


def _new_clone(raw: bytes) -> NewClone:
    found = fields(raw, "payload")
    name = _take_name(found)
    if found:
        raise ProtocolError("payload", "expected: name= alone")
    return NewClone(name)


def _new_clone_in_pool(raw: bytes) -> NewClone:
    found = fields(raw, "payload")
    name = _take_name(found)
    return NewClone(name, _pools(found))


_BAD_POOLS: Final = (
    b"pool:foo=varlibqubes",
    b"pool=a pool:private=b",
    b"pool=a pool=b",
    b"pool:private=a pool:private=b",
    b"foo=bar",
    b"pool:=a",
    b"",
)
NEW_QUBE_IN_POOL: Final[Codec[NewQube]] = Codec(
    name="name=N label=L [pool=P | pool:VOLUME=P…]",
    decode=_new_in_pool,
    encode=lambda new: f"name={new.name} label={new.label}{_spell_pools(new.pools)}".encode(),
    examples=(
        NewQube(QubeName("new"), LabelName("red"), (("", PoolName("varlibqubes")),)),
        NewQube(QubeName("new"), LabelName("red"), (("private", PoolName("varlibqubes")),)),
        NewQube(QubeName("new"), LabelName("red")),
    ),
    rejects=(
        b"",
        b"name=new",
        b"label=red",
        b"name=new label=3",
        *(b"name=new label=red " + bad for bad in _BAD_POOLS),
    ),
)
NEW_CLONE: Final[Codec[NewClone]] = Codec(
    name="name=N",
    decode=_new_clone,
    encode=lambda new: f"name={new.name}".encode(),
    examples=(NewClone(QubeName("copy")),),
    rejects=(b"", b"copy", b"name=", b"name=1x", b"name=a name=b", b"name=a pool=b", b"name=a\n"),
)
NEW_CLONE_IN_POOL: Final[Codec[NewClone]] = Codec(
    name="name=N [pool=P | pool:VOLUME=P…]",
    decode=_new_clone_in_pool,
    encode=lambda new: f"name={new.name}{_spell_pools(new.pools)}".encode(),
    examples=(
        NewClone(QubeName("copy"), (("", PoolName("varlibqubes")),)),
        NewClone(QubeName("copy"), (("root", PoolName("varlibqubes")),)),
        NewClone(QubeName("copy")),
    ),
    rejects=(b"", b"pool=x", *(b"name=copy " + bad for bad in _BAD_POOLS)),
)
