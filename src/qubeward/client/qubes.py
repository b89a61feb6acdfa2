"""Qubes as objects: what may be done with each, and which there are."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ..errors import ProtocolError, QubeNotFoundError
from ..names import ADMIN, ClassName, LabelName, PoolName, QubeName, VolumeName
from ..spec import vm, volume
from ..spec.new_qube import NewClone, NewQube
from ..spec.vm_body import Figures, PowerState, Row, ShutdownOptions
from ..wire.dialect import Dialect
from .call import Client, Dest
from .errors import NoReplyInTimeError
from .properties import Features, Notes, Properties, Tags
from .volumes import Volume

#: Seconds between two looks at a qube that shuts down, where the server can't wait for us.
_LOOK_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class Qube:
    """A handle of one qube. It makes no call until it is asked to, so the qube need not exist."""

    client: Client
    dest: Dest

    @property
    def properties(self) -> Properties:
        """Its properties."""
        return Properties(self.client, self.dest)

    @property
    def tags(self) -> Tags:
        """Its tags."""
        return Tags(self.client, self.dest)

    @property
    def features(self) -> Features:
        """Its features."""
        return Features(self.client, self.dest)

    @property
    def notes(self) -> Notes:
        """The notes kept about it."""
        return Notes(self.client, self.dest)

    def volume(self, name: str) -> Volume:
        """Return one of its volumes."""
        return Volume(self.client, self.dest, name)

    async def volumes(self) -> tuple[VolumeName, ...]:
        """List its volumes, in the order of its disks."""
        return await self.client.call(volume.LIST, self.dest, None)

    async def clone(self, name: str, pools: Mapping[str, str] | None = None) -> "Qube":
        """Make a qube like it, with what its volumes held at its last stop.

        `pools`: as for `Qubes.create`.
        """
        new = NewClone(QubeName(name), _placed(pools))
        row = vm.CLONE_IN_POOL if new.pools else vm.CLONE
        await self.client.call(row, self.dest, None, new)
        return Qube(self.client, name)

    async def row(self) -> Row:
        """Return its name, class, state and uuid; raise `QubeNotFoundError` if it isn't there."""
        rows = await self.client.call(vm.LIST, self.dest, None)
        for row in rows:  # dom0 is answered with all qubes, and comes first
            return row
        raise QubeNotFoundError(str(self.dest))

    async def figures(self) -> Figures:
        """Return its state, memory and CPU time."""
        return await self.client.call(vm.CURRENT_STATE, self.dest)

    async def start(self, *, timeout_s: float | None = None) -> None:
        """Start it, and its netvm before it; return when it is up."""
        await self.client.call(vm.START, self.dest, timeout_s=timeout_s)

    async def shutdown(
        self, *, force: bool = False, wait: bool = False, timeout_s: float | None = None
    ) -> None:
        """Ask it to power off; with `wait`, return when it is off.

        `force` also while others depend on it, which the draft dialect has no word for.
        """
        if self.client.transport.dialect is Dialect.R4:
            options = ShutdownOptions(force=force, wait=wait)
            await self.client.call(vm.SHUTDOWN, self.dest, options, timeout_s=timeout_s)
            return
        if force:
            raise ProtocolError("option", "the draft dialect has no forced shutdown")
        await self.client.call(vm.SHUTDOWN, self.dest, ShutdownOptions(), timeout_s=timeout_s)
        if wait:
            await self._until_halted(self.client.timeout_s if timeout_s is None else timeout_s)

    async def _until_halted(self, timeout_s: float | None) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                while (await self.row()).state is not PowerState.HALTED:  # noqa: ASYNC110
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError:
            raise NoReplyInTimeError(f"{self.dest} is not off after {timeout_s:g} s") from None

    async def kill(self) -> None:
        """End it at once."""
        await self.client.call(vm.KILL, self.dest)

    async def pause(self) -> None:
        """Stop its processors."""
        await self.client.call(vm.PAUSE, self.dest)

    async def unpause(self) -> None:
        """Let it run again."""
        await self.client.call(vm.UNPAUSE, self.dest)

    async def remove(self) -> None:
        """Remove it with its volumes; it must be off, and nothing may refer to it."""
        await self.client.call(vm.REMOVE, self.dest)

    async def console(self) -> str:
        """Return the path of the host's tty that is its console; dom0 has none, which is ""."""
        return await self.client.call(vm.CONSOLE, self.dest)


def _placed(pools: Mapping[str, str] | None) -> tuple[tuple[str, PoolName], ...]:
    return tuple((volume_name, PoolName(pool)) for volume_name, pool in (pools or {}).items())


def _new(name: str, label: str, pools: Mapping[str, str] | None) -> NewQube:
    return NewQube(QubeName(name), LabelName(label), _placed(pools))


@dataclass(frozen=True, slots=True)
class Qubes:
    """All qubes that the caller may see."""

    client: Client

    def __getitem__(self, name: str) -> Qube:
        return Qube(self.client, name)

    async def rows(self, *, timeout_s: float | None = None) -> tuple[Row, ...]:
        """List them, dom0 first."""
        return await self.client.call(vm.LIST, ADMIN, None, timeout_s=timeout_s)

    async def create(
        self,
        name: str,
        *,
        klass: str,
        label: str,
        template: str | None = None,
        pools: Mapping[str, str] | None = None,
    ) -> Qube:
        """Create one; without `template`, from the default one if its class has templates.

        `pools` are the names of pools by those of volumes; that of no name is for all volumes.
        """
        row = (vm.CREATE_IN_POOL if pools else vm.CREATE).get(ClassName(klass))
        if row is None:
            raise ProtocolError("class", "no such class of qube, or nobody may create it")
        base = None if template is None else QubeName(template)
        await self.client.call(row, ADMIN, base, _new(name, label, pools))
        return self[name]

    @property
    def system(self) -> Properties:
        """Return the properties of the whole system."""
        return Properties(self.client, ADMIN, system=True)
