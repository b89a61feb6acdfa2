"""Volumes of a qube and storage pools, as objects."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from ..names import ADMIN, PoolName, RevisionId, VolumeName
from ..spec import pool as pools
from ..spec import volume as rows
from ..spec.pool import DriverOptions, NewPool
from ..spec.volume_body import Dated, VolumeInfo
from .call import Client, Dest


@dataclass(frozen=True, slots=True)
class Volume:
    """One volume of a qube, by its name (`root`, `private`, `volatile`, `kernel`)."""

    client: Client
    dest: Dest
    name: str

    @property
    def _arg(self) -> VolumeName:
        return VolumeName(self.name)

    async def info(self) -> VolumeInfo:
        """Return where it is, how large (bytes), and of what kind."""
        return await self.client.call(rows.INFO_, self.dest, self._arg)

    async def snapshots(self) -> tuple[Dated, ...]:
        """Return its snapshots, oldest first, each with the time of its content."""
        return await self.client.call(rows.SNAPSHOT_TIMES, self.dest, self._arg)

    async def snapshot(self) -> RevisionId:
        """Keep what it was at its qube's last stop; return the snapshot's name."""
        return await self.client.call(rows.SNAPSHOT, self.dest, self._arg)

    async def revert(self, snapshot: str) -> None:
        """Make it what it was at a snapshot; its qube is off."""
        await self.client.call(rows.REVERT, self.dest, self._arg, RevisionId(snapshot))

    async def resize(self, size_bytes: int) -> None:
        """Make it larger; its qube may run."""
        await self.client.call(rows.RESIZE, self.dest, self._arg, size_bytes)

    async def fill(self, body: AsyncIterator[bytes], size_bytes: int | None = None) -> None:
        """Replace its content by what `body` yields, exactly so many bytes; its qube is off.

        Without a size, exactly as many as it has now. The old content stays if this fails.
        """
        if size_bytes is None:
            await self.client.send(rows.IMPORT, self.dest, self._arg, None, body)
        else:
            await self.client.send(rows.IMPORT_WITH_SIZE, self.dest, self._arg, size_bytes, body)

    async def clear(self) -> None:
        """Empty it; its qube is off."""
        await self.client.call(rows.CLEAR, self.dest, self._arg)

    async def clone_to(self, other: "Volume") -> None:
        """Make another volume a copy of this one; that one's qube is off."""
        token = await self.client.call(rows.CLONE_FROM, self.dest, self._arg)
        await self.client.call(rows.CLONE_TO, other.dest, VolumeName(other.name), token)

    async def set_revisions_to_keep(self, number: int) -> None:
        """Say how many snapshots it keeps at each stop; -1: it is never snapshotted."""
        await self.client.call(rows.SET_REVISIONS_TO_KEEP, self.dest, self._arg, number)

    async def set_rw(self, rw: bool) -> None:
        """Say whether its qube, which is off, may write to it."""
        await self.client.call(rows.SET_RW, self.dest, self._arg, rw)

    async def set_ephemeral(self, ephemeral: bool) -> None:
        """Say whether it is encrypted with a key that nobody keeps; for volatile volumes."""
        await self.client.call(rows.SET_EPHEMERAL, self.dest, self._arg, ephemeral)


@dataclass(frozen=True, slots=True)
class Pools:
    """The storage pools."""

    client: Client

    async def names(self) -> tuple[PoolName, ...]:
        """List them, oldest first."""
        return await self.client.call(pools.LIST, ADMIN, None)

    async def drivers(self) -> tuple[DriverOptions, ...]:
        """List the drivers, with the options that a pool of each may have."""
        return await self.client.call(pools.LIST_DRIVERS, ADMIN)

    async def info(self, name: str) -> dict[str, str]:
        """Return the options of one, and where they are known `size`, `usage` (bytes) and more."""
        found = await self.client.call(pools.INFO_, ADMIN, PoolName(name))
        return dict(found)

    async def volumes(self, name: str) -> tuple[str, ...]:
        """List the ids of the volumes that are kept in one."""
        return await self.client.call(pools.VOLUME_LIST, ADMIN, PoolName(name))

    async def add(self, name: str, driver: str, options: Mapping[str, str]) -> None:
        """Add one."""
        new = NewPool(PoolName(name), tuple(options.items()))
        await self.client.call(pools.ADD, ADMIN, driver, new)

    async def remove(self, name: str) -> None:
        """Remove one that keeps nothing; what is on its disk stays there."""
        await self.client.call(pools.REMOVE, ADMIN, PoolName(name))

    async def set_revisions_to_keep(self, name: str, number: int) -> None:
        """Say how many snapshots the volumes keep that are made in one from now on."""
        await self.client.call(pools.SET_REVISIONS_TO_KEEP, ADMIN, PoolName(name), number)

    async def set_ephemeral_volatile(self, name: str, ephemeral: bool) -> None:
        """Say whether volatile volumes in one are encrypted with a key that nobody keeps."""
        await self.client.call(pools.SET_EPHEMERAL_VOLATILE, ADMIN, PoolName(name), ephemeral)
