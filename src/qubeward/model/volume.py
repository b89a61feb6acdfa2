"""Which volumes a qube has, by its class, and what each is."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ..names import PoolName, VolumeName
from ..spec.classes import QubeClass

ROOT: Final = VolumeName("root")
PRIVATE: Final = VolumeName("private")
VOLATILE: Final = VolumeName("volatile")
KERNEL: Final = VolumeName("kernel")

_GIB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """One volume of a qube, as configured. `source` is the vid that a snapshot copies.

    `ephemeral` None: as its pool says of volatile volumes.
    """

    name: VolumeName
    pool: PoolName
    vid: str
    size_bytes: int
    rw: bool = True
    source: str | None = None
    save_on_stop: bool = False
    snap_on_start: bool = False
    revisions_to_keep: int = 1
    ephemeral: bool | None = None

    @property
    def is_volatile(self) -> bool:
        """Tell whether it is fresh and empty at each start."""
        return not self.save_on_stop and not self.snap_on_start


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a new qube of a class gets: a volume's kind and size."""

    name: VolumeName
    size_bytes: int
    save_on_stop: bool = False
    snap_on_start: bool = False


def plans(klass: QubeClass) -> Iterator[Plan]:
    """Yield the volumes that a new qube of the class gets, in the order of its disks.

    The kernel's volume isn't among them: it is a view of the property `kernel`, not a thing kept.
    """
    if not klass.runs:
        return
    yield Plan(
        name=ROOT,
        size_bytes=10 * _GIB,
        save_on_stop=klass.owns_root,
        snap_on_start=not klass.owns_root,
    )
    yield Plan(
        name=PRIVATE,
        size_bytes=2 * _GIB,
        save_on_stop=klass.keeps_private,
        snap_on_start=not klass.keeps_private,
    )
    yield Plan(name=VOLATILE, size_bytes=(10 if klass.keeps_private else 12) * _GIB)
