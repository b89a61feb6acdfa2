"""File systems for pools, as the drivers' tests have them."""

from drivers.conftest import btrfs, xfs

__all__ = ["btrfs", "xfs"]
