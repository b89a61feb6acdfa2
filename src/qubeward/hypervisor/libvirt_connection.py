"""One connection to libvirt, blocking: for threads only."""

import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from jinja2 import BaseLoader, ChoiceLoader, FileSystemLoader, PackageLoader, TemplateError

from ..errors import HypervisorError
from . import embed
from .access import IsVolume, grant
from .description import find_target, find_tty, is_encrypted
from .domain import Accel, Machine, domain_xml, environment
from .driver import DomainInfo, DomainSpec, DomainState, HostInfo
from .embed import Account
from .keys import KeyFiles
from .libvirt_words import FIGURES, as_hypervisor_error, find_change, info_of, libvirt
from .reaper import Reaper, kill_qemu

OnEvent = Callable[[UUID, DomainState | None, str], None]

_TERM_GRACE_S = 1.0
_REAP_S = 2.0
_NO_DISK = "no such disk"
_ENCRYPTED = "it is encrypted: it grows at the domain's next start"

_NOWAIT = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to connect, and what all domains share; see `LibvirtHypervisor`."""

    uri: str
    accel: Accel
    machine: Machine
    account: Account | None
    security_driver: Literal["none", "apparmor", "selinux"]
    templates: Path | None
    capabilities: Path | None
    is_volume: IsVolume


@dataclass(slots=True)
class Attempt:
    """A creation that its caller may abandon while a thread is at it."""

    abandoned: threading.Event = field(default_factory=threading.Event)
    is_under_way: bool = False


class Connection:
    """What `LibvirtHypervisor` does, call by call. Errors are `HypervisorError`.

    A process can open some 18 embedded connections in its life, then libvirt refuses.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._directory = embed.directory_of(settings.uri)
        own = settings.templates
        loaders: list[BaseLoader] = [] if own is None else [FileSystemLoader(own)]
        loaders.append(PackageLoader("qubeward.hypervisor"))
        self._templates = environment(ChoiceLoader(loaders))
        self._libvirt: Any = None
        self._callback: int | None = None
        self._reaper = Reaper()
        self._keys = KeyFiles(self._directory, settings.account)
        self._created_here: set[UUID] = set()
        #: Ttys by the domain's uuid and number: newer libvirts don't describe a hung guest.
        self._consoles: dict[tuple[UUID, int], str] = {}

    def open(self, on_event: OnEvent) -> HostInfo:
        """Connect; `on_event` is called in libvirt's thread from now on."""
        if self._directory is not None:
            embed.prepare(
                self._directory,
                account=self._settings.account,
                security_driver=self._settings.security_driver,
                capabilities=self._settings.capabilities,
            )
            self._reaper.start()
        _start_events()
        libvirt.registerErrorHandler(_ignore, None)
        try:
            with as_hypervisor_error("connect"), self._reaper.busy():
                return self._open(on_event)
        except HypervisorError:
            self._reaper.stop()
            raise

    def _open(self, on_event: OnEvent) -> HostInfo:
        connection = libvirt.open(self._settings.uri)
        self._keys.sweep()  # not before: another daemon might be at work, and libvirt refuses that
        callback = functools.partial(self._translate, on_event)
        self._callback = connection.domainEventRegisterAny(
            None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, callback, None
        )
        # look at QEMU now: the first time takes seconds, and the first start would wait
        connection.getCapabilities()
        if self._directory is not None and self._settings.capabilities is not None:
            embed.keep_capabilities(self._directory, self._settings.capabilities)
        self._libvirt = connection
        cpus = connection.getInfo()[2]
        # getInfo's memory leaves out what was plugged in after the host's boot
        memory_kib = connection.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)["total"]
        return HostInfo(memory_mib=memory_kib // 1024, cpus=cpus, accel=self._settings.accel)

    def close(self) -> None:
        """Disconnect."""
        connection, self._libvirt = self._libvirt, None
        if connection is not None:
            with as_hypervisor_error("disconnect"):
                connection.domainEventDeregisterAny(self._callback)
                connection.close()
        self._keys.close()
        self._reaper.stop()

    def create(self, spec: DomainSpec, attempt: Attempt) -> DomainInfo:
        """Create the domain, transient and paused, unless the attempt is abandoned."""
        what = f"create {spec.name}"
        with as_hypervisor_error(what), self._reaper.busy():
            if self._find(spec.uuid) is not None:
                raise HypervisorError(what, "it exists already")
            if self._directory is not None and self._settings.account is not None:
                grant(spec, self._settings.account, self._settings.is_volume)
            with self._keys.written(spec) as key_files:
                domain = self._start(what, spec.uuid, self._xml(what, spec, key_files), attempt)
            if attempt.abandoned.is_set():
                self.destroy(spec.uuid)
                raise HypervisorError(what, "given up")
            rows = self._connected.domainListGetStats([domain], FIGURES, _NOWAIT)
            self._note_console(spec.uuid, domain)
        if not rows:
            raise HypervisorError(what, "it ended at once")
        return info_of(*rows[0])

    def _start(self, what: str, uuid: UUID, xml: str, attempt: Attempt) -> Any:
        self._created_here.add(uuid)
        attempt.is_under_way = True
        try:
            if attempt.abandoned.is_set():
                raise HypervisorError(what, "given up before it began")
            return self._connected.createXML(xml, libvirt.VIR_DOMAIN_START_PAUSED)
        finally:
            attempt.is_under_way = False

    def resume(self, uuid: UUID) -> None:
        """Let a paused domain run; no error if it does."""
        with as_hypervisor_error(f"unpause {uuid}"):
            domain = self._existing("unpause", uuid)
            try:
                domain.resume()
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:
                    raise
                if domain.state()[0] != libvirt.VIR_DOMAIN_RUNNING:
                    raise

    def suspend(self, uuid: UUID) -> None:
        """Stop a domain's processors; no error if they are."""
        with as_hypervisor_error(f"pause {uuid}"):
            self._existing("pause", uuid).suspend()

    def press_power_button(self, uuid: UUID) -> None:
        """Tell the guest, through ACPI, that it shall power off."""
        with as_hypervisor_error(f"request_shutdown {uuid}"):
            domain = self._existing("request_shutdown", uuid)
            domain.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)

    def resize_disk(self, uuid: UUID, serial: str, size_bytes: int) -> None:
        """Let the guest see a larger disk."""
        what = f"resize disk {serial} of {uuid}"
        with as_hypervisor_error(what):
            domain = self._existing("resize_disk", uuid)
            xml = domain.XMLDesc()
            target = find_target(xml, serial)
            if target is None:
                raise HypervisorError(what, _ENCRYPTED if is_encrypted(xml, serial) else _NO_DISK)
            capacity_bytes = domain.blockInfo(target)[0]
            if size_bytes < capacity_bytes:  # libvirt would shrink it
                raise HypervisorError(what, f"it has {capacity_bytes} bytes, never less")
            domain.blockResize(target, size_bytes, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)

    def destroy(self, uuid: UUID) -> None:
        """End the domain, if there is one."""
        with as_hypervisor_error(f"destroy {uuid}"), self._reaper.busy():
            domain = self._find(uuid)
            if domain is None:
                return
            # libvirt gives QEMU 10 s to end by itself; one that hangs never does
            kill = threading.Timer(_TERM_GRACE_S, self._kill, (domain.name(), str(uuid)))
            kill.daemon = True
            kill.start()
            try:
                domain.destroy()
            except libvirt.libvirtError:
                if self._find(uuid) is not None:
                    raise
            finally:
                kill.cancel()

    def domains(self) -> Sequence[DomainInfo]:
        """List the domains; a busy one comes with fewer figures, and makes nobody wait."""
        with as_hypervisor_error("list domains"):
            flags = _NOWAIT | libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE
            return [info_of(*row) for row in self._connected.getAllDomainStats(FIGURES, flags)]

    def console(self, uuid: UUID) -> str:
        """Return the pty of the domain's first serial port."""
        with as_hypervisor_error(f"console {uuid}"):
            domain = self._existing("console", uuid)
            key = (uuid, domain.ID())
            if key not in self._consoles:
                self._note_console(uuid, domain)
        if key not in self._consoles:
            raise HypervisorError(f"console {uuid}", "the domain has none")
        return self._consoles[key]

    def _note_console(self, uuid: UUID, domain: Any) -> None:
        path = find_tty(domain.XMLDesc())
        for old in [key for key in self._consoles if key[0] == uuid]:
            del self._consoles[old]
        if path is not None:
            self._consoles[uuid, domain.ID()] = path

    def _xml(self, what: str, spec: DomainSpec, key_files: Mapping[str, str]) -> str:
        accel, machine = self._settings.accel, self._settings.machine
        try:
            return domain_xml(
                spec, self._templates, accel=accel, machine=machine, key_files=key_files
            )
        except (TemplateError, OSError, ValueError) as error:
            raise HypervisorError(what, f"domain template: {error}") from error

    def _kill(self, name: str, uuid: str) -> None:
        if self._directory is not None:
            kill_qemu(self._directory / f"run/qemu/{name}.pid", uuid)

    def _translate(
        self, on_event: OnEvent, _connection: Any, domain: Any, event: int, detail: int, _: None
    ) -> None:
        change = find_change(event, detail)
        if change is None:
            return
        uuid = UUID(domain.UUIDString())
        state, reason = change
        if event == libvirt.VIR_DOMAIN_EVENT_SHUTDOWN:
            self._reaper.hurry(_REAP_S)
        elif event == libvirt.VIR_DOMAIN_EVENT_STARTED and uuid in self._created_here:
            state = DomainState.PAUSED
        on_event(uuid, state, reason)

    @property
    def _connected(self) -> Any:
        if self._libvirt is None:
            raise HypervisorError("use libvirt", "the driver is not open")
        return self._libvirt

    def _find(self, uuid: UUID, tries: int = 3) -> Any:
        try:
            return self._connected.lookupByUUIDString(str(uuid))
        except libvirt.libvirtError as error:
            code = error.get_error_code()
            if code == libvirt.VIR_ERR_NO_DOMAIN:
                return None
            # None: another domain was freed in this thread just then, and libvirt forgot why
            if code is not None or tries == 1:
                raise
        return self._find(uuid, tries - 1)

    def _existing(self, doing: str, uuid: UUID) -> Any:
        domain = self._find(uuid)
        if domain is None:
            raise HypervisorError(f"{doing} {uuid}", "no such domain")
        return domain


def _ignore(_context: None, _error: Any) -> None:
    """Drop what libvirt would print: it is in the exception too."""


@functools.cache
def _start_events() -> None:
    # one loop a process: libvirt has no way to end it, and it must be there before connections
    libvirt.virEventRegisterDefaultImpl()
    threading.Thread(target=_run_events, name="virt-events", daemon=True).start()


def _run_events() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()
