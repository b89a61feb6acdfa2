"""Hypervisors for the tests: the fake, and libvirt's embedded driver with real guests."""

import asyncio
import functools
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

from guest_images import MiniImages
from qubeward.hypervisor.acceleration import hide_kvm
from qubeward.hypervisor.driver import (
    DirectKernel,
    Disk,
    DomainChange,
    DomainSpec,
    DomainState,
    HostInfo,
    Hypervisor,
)
from qubeward.hypervisor.fake import FakeHypervisor
from qubeward.hypervisor.keys import KeyFiles
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

    async def size_bytes(self, uuid: UUID, disk: Disk) -> int | None:
        """Return how large the guest sees the disk; None if the fake was never told."""
        if isinstance(self.hypervisor, FakeHypervisor):
            return self.hypervisor.sizes_bytes(uuid).get(disk.serial)
        assert isinstance(self.hypervisor, LibvirtHypervisor)
        domain = self.hypervisor._connection._find(uuid)
        return int(domain.blockInfo(disk.path)[0])

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


@dataclass(frozen=True)
class MiniGuest:
    """A mini guest, and its console in the test's hands."""

    world: World
    spec: DomainSpec

    @property
    def log(self) -> Path:
        return Path(str(self.spec.console_log))

    async def boot(self) -> None:
        """Start it, and return once its shell waits for a line."""
        await self.world.hypervisor.create(self.spec)
        await self.world.hypervisor.unpause(self.spec.uuid)
        await self.until_shown(f"qube {self.spec.name} is up")
        await self.until_shown(f"root@{self.spec.name}:")

    async def until_shown(self, text: str, after: int = 0, timeout_s: float = 60) -> str:
        """Wait until the console has shown the text, and return what came before it."""
        async with asyncio.timeout(timeout_s):
            while True:
                shown, found, _ = self.log.read_text(errors="replace")[after:].partition(text)
                if found:
                    return shown
                await asyncio.sleep(0.1)  # a file tells nobody that it grew

    async def type(self, line: str) -> None:
        """Type a line at the root shell, and leave the console once it was taken."""
        await self._at_console(line, "")

    async def run(self, line: str) -> str:
        """Type a command at the root shell and return what it printed."""
        # The quotes keep what is typed, and echoed, from looking like what is printed.
        shown = await self._at_console(f"echo =be''gin=; {line}; echo =e''nd=", "=end=\n")
        return shown.partition("=begin=\n")[2].strip()

    async def _at_console(self, line: str, until: str) -> str:
        after = len(self.log.read_text(errors="replace"))
        tty = await self.world.hypervisor.console(self.spec.uuid)
        fd = os.open(tty, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        loop = asyncio.get_running_loop()
        # QEMU looks once a second whether anybody has the tty open, and waits for who doesn't read
        loop.add_reader(fd, os.read, fd, 65536)
        try:
            os.write(fd, f"{line}\n".encode())
            if until:
                return await self.until_shown(until, after)
            await asyncio.sleep(1.5)
            return ""
        finally:
            loop.remove_reader(fd)
            os.close(fd)


def mini_guest(world: World, images: MiniImages, name: str, *disks: Disk) -> MiniGuest:
    """Return a mini guest with these disks between its root and its kernel's modules."""
    for file in (images.vmlinuz, images.initramfs, images.modules, images.root):
        shutil.copy(file, world.folder / file.name)
    spec = world.spec(
        name,
        memory_mib=96,
        max_memory_mib=128,
        disks=(
            Disk(serial="root", path=str(world.folder / images.root.name)),
            *disks,
            Disk(serial="kernel", path=str(world.folder / images.modules.name), read_only=True),
        ),
        kernel=DirectKernel(
            vmlinuz=str(world.folder / images.vmlinuz.name),
            initramfs=str(world.folder / images.initramfs.name),
            options=f"console=ttyS0 quiet qubeward.name={name}",
        ),
        console_log=str(world.folder / f"{name}-{uuid4()}.log"),
    )
    return MiniGuest(world, spec)


def sparse(path: Path, size_bytes: int) -> Path:
    """Make an empty image; one of that name is gone."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    os.truncate(path, size_bytes)
    return path


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


def key_files(root: Path) -> KeyFiles:
    return KeyFiles(embed_root(root, is_root=os.geteuid() == 0), find_account(DEFAULT_ACCOUNT))


def listed_keys(root: Path) -> list[Path]:
    """The files with keys that are there now."""
    places = key_files(root)._places
    return [file for place in places if place.exists() for file in place.iterdir()]


def reachable_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="qubeward-tests-"))
    folder.chmod(0o711)
    return folder


def remove(folder: Path) -> None:
    keys = key_files(folder)
    keys.sweep()
    keys.close()
    shutil.rmtree(folder)
    shutil.rmtree(embed_root(folder, is_root=os.geteuid() == 0), ignore_errors=True)


@pytest.fixture(scope="session")
def embed_host() -> Iterator[EmbedHost]:
    """A system's root that QEMU can reach, on a host whose KVM is out of sight."""
    if shutil.which("qemu-system-x86_64") is None:
        pytest.skip("no qemu-system-x86_64")
    host = _host_of_this_process()
    yield host
    if host.folder.exists():  # several folders' tests have the fixture
        host.shared.connection.close()
        remove(host.folder)


@functools.cache
def _host_of_this_process() -> EmbedHost:
    """Make the only one: libvirt's embedded driver serves one directory in a process's life."""
    make_accounts()
    hide_kvm()
    folder = reachable_folder()
    return EmbedHost(folder, SharedConnection(embed_libvirt(folder)._connection))


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
