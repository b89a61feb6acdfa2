"""Storage pools, as configured."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from ..names import PoolName

VARLIBQUBES: Final = PoolName("varlibqubes")
KERNELS: Final = PoolName("linux-kernel")

REVISIONS_TO_KEEP: Final = "revisions_to_keep"
EPHEMERAL_VOLATILE: Final = "ephemeral_volatile"
WARN_PERCENT: Final = "warn_percent"
FLOOR_MIB: Final = "floor_mib"
#: What a pool's options are when nobody set them. Free space below the floor refuses starts and
#: creations; usage from the percentage on is warned of.
DEFAULTS: Final[Mapping[str, str]] = {
    REVISIONS_TO_KEEP: "1",
    EPHEMERAL_VOLATILE: "False",
    WARN_PERCENT: "90",
    FLOOR_MIB: "128",
}
_TRUE: Final = frozenset({"true", "yes", "on", "1"})


@dataclass(frozen=True, slots=True)
class Pool:
    """One pool: its driver's name, and the options that it was given, which its driver accepted."""

    name: PoolName
    driver: str
    options: Mapping[str, str]

    def option(self, name: str) -> str:
        """Return an option's text, or its default."""
        return self.options.get(name, DEFAULTS.get(name, ""))

    def with_option(self, name: str, value: str) -> "Pool":
        """Return the pool with another value of one option."""
        return replace(self, options={**self.options, name: value})

    @property
    def revisions_to_keep(self) -> int:
        """Tell how many revisions volumes keep that are made in it."""
        return int(self.option(REVISIONS_TO_KEEP))

    @property
    def ephemeral_volatile(self) -> bool:
        """Tell whether volatile volumes in it are encrypted with a key that nobody keeps."""
        return self.option(EPHEMERAL_VOLATILE).lower() in _TRUE

    @property
    def warn_percent(self) -> int:
        """Tell from which usage on to warn."""
        return int(self.option(WARN_PERCENT))

    def floor_bytes(self, size_bytes: int) -> int:
        """Tell below how much free space nothing is started or created, in a pool so large.

        The default is for pools of some size: of a small one it is a twentieth.
        """
        floor = int(self.option(FLOOR_MIB)) << 20
        return floor if FLOOR_MIB in self.options else min(floor, size_bytes // 20)
