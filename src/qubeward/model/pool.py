"""Storage pools, as configured."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ..names import PoolName

VARLIBQUBES: Final = PoolName("varlibqubes")
KERNELS: Final = PoolName("linux-kernel")


@dataclass(frozen=True, slots=True)
class Pool:
    """One pool: its driver's name, and the options that the driver was given."""

    name: PoolName
    driver: str
    options: Mapping[str, str]
