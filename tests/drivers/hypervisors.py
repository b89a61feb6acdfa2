"""Hypervisors for the tests: the fake, and libvirt's embedded driver with real guests."""

import asyncio
import hashlib
import os
import shutil
import subprocess  # a test may
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from qubeward.hypervisor.acceleration import hide_kvm
from qubeward.hypervisor.driver import (
    Disk,
    DomainChange,
    DomainSpec,
    DomainState,
    HostInfo,
    Hypervisor,
)
from qubeward.hypervisor.fake import FakeHypervisor
from qubeward.hypervisor.libvirt import (
    DEFAULT_ACCOUNT,
    LibvirtHypervisor,
    embed_root,
    embed_uri,
    find_account,
)
from qubeward.hypervisor.libvirt_connection import Connection, OnEvent

# mov dx, 0x604; mov ax, 0x2000; out dx, ax; hlt: power off through the chipset of q35
_POWER_OFF = b"\xba\x04\x06\xb8\x00\x20\xef\xf4"
BUILT_IN_ACCOUNT = "libvirt-qemu"  # libvirt as Debian builds it wants it to exist


@dataclass
class World:
    """A hypervisor that is open, and what it has reported."""

    hypervisor: Hypervisor
    folder: Path
    changes: list[DomainChange] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def on_change(self, change: DomainChange) -> None:
        self.changes.append(change)
        self.times.append(time.monotonic())
        self._news.set()

    def spec(self, name: str = "work", **fields: object) -> DomainSpec:
        values = {
            "uuid": uuid4(),
            "name": name,
            "memory_mib": 32,
            "max_memory_mib": 32,
            "vcpus": 1,
            "disks": (),
        }
        return DomainSpec(**{**values, **fields})  # type: ignore[arg-type]

    def states(self, uuid: UUID) -> list[DomainState | None]:
        return [change.state for change in self.changes if change.uuid == uuid]

    async def until(self, uuid: UUID, state: DomainState | None, timeout_s: float = 5) -> str:
        """Wait until the domain's last change is this, and return its reason."""
        async with asyncio.timeout(timeout_s):
            while True:
                changes = [change for change in self.changes if change.uuid == uuid]
                if changes and changes[-1].state is state:
                    return changes[-1].reason
                self._news.clear()
                await self._news.wait()

    async def running(self, name: str = "work", **fields: object) -> UUID:
        spec = self.spec(name, **fields)
        await self.hypervisor.create(spec)
        await self.hypervisor.unpause(spec.uuid)
        await self.until(spec.uuid, DomainState.RUNNING)
        return spec.uuid

    async def run_and_power_off(self, spec: DomainSpec) -> None:
        """Run a guest that powers itself off."""
        if isinstance(self.hypervisor, FakeHypervisor):
            await self.hypervisor.create(spec)
            await self.hypervisor.unpause(spec.uuid)
            self.hypervisor.end(spec.uuid)
            return
        path = self.folder / "poweroff.img"
        path.write_bytes(_POWER_OFF.ljust(510, b"\0") + b"\x55\xaa" + bytes(1 << 20))
        disks = (Disk(serial="root", path=str(path)),)
        await self.hypervisor.create(self.spec(spec.name, uuid=spec.uuid, disks=disks))
        await self.hypervisor.unpause(spec.uuid)


class SharedConnection:
    """One connection for all tests: libvirt can open some 18 embedded ones in a process."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._host: HostInfo | None = None
        self._on_event: OnEvent | None = None

    def open(self, on_event: OnEvent) -> HostInfo:
        self._on_event = on_event
        if self._host is None:
            self._host = self.connection.open(self._pass_on)
        return self._host

    def close(self) -> None:
        self._on_event = None

    def _pass_on(self, uuid: UUID, state: DomainState | None, reason: str) -> None:
        if self._on_event is not None:
            self._on_event(uuid, state, reason)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)


@dataclass(frozen=True)
class EmbedHost:
    """A system's root that QEMU can reach, and the connection to its libvirt."""

    folder: Path
    shared: SharedConnection

    def hypervisor(self) -> LibvirtHypervisor:
        made = embed_libvirt(self.folder)
        made._connection = self.shared  # type: ignore[assignment]
        return made


def embed_libvirt(root: Path) -> LibvirtHypervisor:
    return LibvirtHypervisor(
        embed_uri(embed_root(root, is_root=os.geteuid() == 0)),
        accel="tcg",
        account=find_account(DEFAULT_ACCOUNT),
        capabilities=capabilities_dir(),
        is_volume=lambda path: path.is_relative_to(root),
    )


def capabilities_dir() -> Path:
    version = subprocess.run(
        ["qemu-system-x86_64", "--version"], capture_output=True, check=True
    ).stdout
    digest = hashlib.sha256(version).hexdigest()[:8]
    return Path(tempfile.gettempdir()) / f"qubeward-tests-{os.geteuid()}-{digest}"


def make_accounts() -> None:
    """Make what setup makes, if it has not run here."""
    if os.geteuid() != 0:
        return
    for name in (DEFAULT_ACCOUNT, BUILT_IN_ACCOUNT):
        if subprocess.run(["id", name], capture_output=True, check=False).returncode != 0:
            options = ("--system", "--user-group", "--no-create-home", "--shell")
            argv = ["useradd", *options, "/usr/sbin/nologin", name]
            # another worker may have been faster
            subprocess.run(argv, capture_output=True, check=False)


def reachable_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="qubeward-tests-"))
    folder.chmod(0o711)
    return folder


def remove(folder: Path) -> None:
    shutil.rmtree(folder)
    shutil.rmtree(embed_root(folder, is_root=os.geteuid() == 0), ignore_errors=True)


@pytest.fixture(scope="session")
def embed_host() -> Iterator[EmbedHost]:
    """A system's root that QEMU can reach, on a host whose KVM is out of sight."""
    if shutil.which("qemu-system-x86_64") is None:
        pytest.skip("no qemu-system-x86_64")
    make_accounts()
    hide_kvm()
    folder = reachable_folder()
    shared = SharedConnection(embed_libvirt(folder)._connection)
    yield EmbedHost(folder, shared)
    shared.connection.close()
    remove(folder)


@asynccontextmanager
async def opened(hypervisor: Hypervisor, folder: Path) -> AsyncIterator[World]:
    world = World(hypervisor, folder)
    await hypervisor.open(world.on_change)
    try:
        yield world
    finally:
        for info in await world.hypervisor.domains():
            await world.hypervisor.destroy(info.uuid)
        await world.hypervisor.close()


@pytest.fixture
async def libvirt_world(embed_host: EmbedHost) -> AsyncIterator[World]:
    async with opened(embed_host.hypervisor(), embed_host.folder) as made:
        yield made


@pytest.fixture(params=["fake", "libvirt"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    if request.param == "fake":
        async with opened(FakeHypervisor(), tmp_path) as made:
            yield made
    else:
        host = request.getfixturevalue("embed_host")
        async with opened(host.hypervisor(), host.folder) as made:
            yield made
