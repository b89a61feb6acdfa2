"""Every property there is, as rows: name, kind, holders and documentation.

`model` adds what needs the rest of the system to answer: defaults and checks. The facts are
ADMIN-API §5.2 and §5.3; the order of the rows is the order of List and GetAll.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final

from ..facts import PropertyValue
from ..names import ClassName, PropertyName
from ..untrusted import Codec
from .classes import CLASSES
from .property_body import BY_KIND, IP6_VALUE, IP_VALUE, Kind


class Writable(Enum):
    """Who may change a property."""

    YES = "yes"
    NO = "no"
    ONCE = "only when the qube is made"


@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyRow:
    """One property of a qube or of the system. `doc` is reStructuredText."""

    name: PropertyName
    kind: Kind
    doc: str
    classes: frozenset[ClassName] = frozenset()
    writable: Writable = Writable.YES
    late: bool = False
    codec: Codec[PropertyValue]


_ALL = frozenset(CLASSES)
_RUNS = frozenset(c.name for c in CLASSES.values() if c.runs)
_NOT_REMOTE = _ALL - {"RemoteVM"}
_NOT_ADMIN = _ALL - {"AdminVM"}
_BASED = frozenset(c.name for c in CLASSES.values() if c.template is not None)
_DISPOSABLE_BASE = frozenset({ClassName("AppVM"), ClassName("StandaloneVM")})


def _only(*names: str) -> frozenset[ClassName]:
    return frozenset(ClassName(name) for name in names)


def _row(
    name: str,
    kind: Kind,
    classes: frozenset[ClassName],
    doc: str,
    *,
    writable: Writable = Writable.YES,
    late: bool = False,
    codec: Codec[PropertyValue] | None = None,
) -> PropertyRow:
    return PropertyRow(
        name=PropertyName(name),
        kind=kind,
        classes=classes,
        doc=doc,
        writable=writable,
        late=late,
        codec=codec or BY_KIND[kind],
    )


_S, _I, _B, _V = Kind.STR, Kind.INT, Kind.BOOL, Kind.VM
_NO, _ONCE = Writable.NO, Writable.ONCE

_QUBE_ROWS = (
    _row("auto_cleanup", _B, _only("DispVM"), "Remove the disposable once it is off."),
    _row("autostart", _B, _RUNS, "Start the qube when the host starts."),
    _row(
        "backup_timestamp",
        _I,
        _RUNS,
        "When the qube was last backed up, in seconds since 1970 (UTC); empty if never.",
    ),
    _row("debug", _B, _RUNS, "Run the qube with debugging aids, such as a verbose boot."),
    _row("default_user", _S, _RUNS, "The user that services in the qube run as."),
    _row(
        "devices_denied",
        _S,
        _NOT_REMOTE,
        "Device interfaces that may not be attached to the qube.\n\n"
        "A row of codes of seven characters: one of ``p`` (PCI), ``u`` (USB), ``b`` (block),\n"
        "``m`` (microphone), ``?`` or ``*``, then six hexadecimal digits or ``*``.",
    ),
    _row("dispid", _I, _only("DispVM"), "The disposable's number.", writable=_ONCE),
    _row(
        "dns",
        _S,
        _RUNS,
        "The DNS servers that the qube is told, separated by a space.",
        writable=_NO,
    ),
    _row(
        "gateway",
        _S,
        _RUNS,
        "The IPv4 address that qubes below this one use as gateway.",
        writable=_NO,
    ),
    _row(
        "gateway6",
        _S,
        _RUNS,
        "The IPv6 address that qubes below this one use as gateway.",
        writable=_NO,
    ),
    _row("icon", _S, _ALL, "The name of the qube's icon, from its class and label.", writable=_NO),
    _row("include_in_backups", _B, _ALL, "Take the qube into a backup that names no qubes."),
    _row(
        "installed_by_rpm",
        _B,
        _RUNS,
        "The qube belongs to a package of the host, and may not be removed here.",
    ),
    _row("ip", _S, _RUNS, "The qube's IPv4 address.", codec=IP_VALUE),
    _row("ip6", _S, _RUNS, "The qube's IPv6 address.", codec=IP6_VALUE),
    _row(
        "is_preload",
        _B,
        _only("DispVM"),
        "The disposable waits, started, for its first use.",
        writable=_NO,
    ),
    _row(
        "kernel",
        _S,
        _RUNS,
        "The kernel to boot: a version in the kernels' pool. Empty: the qube boots its own.",
    ),
    _row(
        "keyboard_layout",
        _S,
        _NOT_REMOTE,
        "The keyboard, as ``layout+variant+options``; the last two may be empty, the signs stay.",
    ),
    _row("klass", _S, _ALL, "The class of the qube.", writable=_NO),
    _row("label", Kind.LABEL, _ALL, "The label (a name with a color) that the qube wears."),
    _row("mac", _S, _RUNS, "The hardware address of the qube's network interface."),
    _row(
        "maxmem",
        _I,
        _NOT_REMOTE,
        "The most memory that the qube can be given, in MiB; 0: always exactly ``memory``.",
    ),
    _row("memory", _I, _RUNS, "The memory that the qube starts with, in MiB."),
    _row("name", _S, _ALL, "The name of the qube.", writable=_ONCE),
    _row("provides_network", _B, _RUNS, "Other qubes may have this one as their netvm."),
    _row("qid", _I, _ALL, "The qube's number, unique on this host.", writable=_ONCE),
    _row("qrexec_timeout", _I, _RUNS, "How long a start waits for the qube's agent, in seconds."),
    _row("remote_name", _S, _only("RemoteVM"), "The name that the qube has on its own host."),
    _row("shutdown_timeout", _I, _RUNS, "How long a shutdown may take, in seconds."),
    _row(
        "start_time",
        _S,
        _RUNS,
        "When the qube was started, in seconds since 1970; empty if it is off.",
        writable=_NO,
    ),
    _row("stubdom_mem", _I, _RUNS, "Memory of the device model's own domain, in MiB (Xen only)."),
    _row(
        "stubdom_uuid",
        _S,
        _RUNS,
        "The uuid of the device model's own domain (Xen only).",
        writable=_NO,
    ),
    _row(
        "stubdom_xid",
        _I,
        _RUNS,
        "The number of the device model's own domain (Xen only); -1: none.",
        writable=_NO,
    ),
    _row("template_for_dispvms", _B, _DISPOSABLE_BASE, "Disposables may be made from this qube."),
    _row(
        "transport_rpc",
        _S,
        _only("RemoteVM"),
        "The service of the relay that carries calls to the qube.",
    ),
    _row(
        "updateable",
        _B,
        _NOT_REMOTE,
        "Software can be installed in the qube and stays.",
        writable=_NO,
    ),
    _row(
        "uuid",
        _S,
        _ALL,
        "The qube's identity, which no other qube has or will have.",
        writable=_ONCE,
    ),
    _row("vcpus", _I, _RUNS, "How many virtual processors the qube has."),
    _row(
        "virt_mode",
        _S,
        _RUNS,
        "How the qube is run: ``pvh`` boots a kernel of the host directly, ``hvm`` boots the root\n"
        "disk, ``pv`` is a word of Xen and means ``pvh`` here.",
    ),
    _row("visible_gateway", _S, _RUNS, "The IPv4 gateway that the qube is told.", writable=_NO),
    _row("visible_gateway6", _S, _RUNS, "The IPv6 gateway that the qube is told.", writable=_NO),
    _row("visible_ip", _S, _RUNS, "The IPv4 address that the qube is told.", writable=_NO),
    _row("visible_ip6", _S, _RUNS, "The IPv6 address that the qube is told.", writable=_NO),
    _row("visible_netmask", _S, _RUNS, "The IPv4 netmask that the qube is told.", writable=_NO),
    _row(
        "xid",
        _I,
        _RUNS,
        "The hypervisor's number of the running domain; -1: it is off.",
        writable=_NO,
    ),
    _row(
        "appvm_default_bootmode",
        _S,
        _only("TemplateVM"),
        "The boot mode of qubes based on this one.",
        late=True,
    ),
    _row("audiovm", _V, _RUNS, "The qube that plays and records sound for this one.", late=True),
    _row("bootmode", _S, _RUNS, "Which of its boot modes the qube boots.", late=True),
    _row(
        "default_dispvm",
        _V,
        _NOT_REMOTE,
        "The qube that disposables are made from for this one.",
        late=True,
    ),
    _row("guivm", _V, _RUNS, "The qube that shows the windows of this one.", late=True),
    _row("kernelopts", _S, _RUNS, "Words added to the kernel's command line.", late=True),
    _row("management_dispvm", _V, _RUNS, "The qube whose disposables manage this one.", late=True),
    _row(
        "netvm",
        _V,
        _RUNS,
        "The qube that this one reaches the network through; empty: none.",
        late=True,
    ),
    _row("relayvm", _V, _only("RemoteVM"), "The qube that carries calls to this one.", late=True),
    _row("template", _V, _BASED, "The qube that this one's root volume comes from.", late=True),
)

_NONE: frozenset[ClassName] = frozenset()
_SYSTEM_ROWS = (
    _row("check_updates_vm", _B, _NONE, "Let qubes look for updates of their software."),
    _row("clockvm", _V, _NONE, "The qube that the others take the time from."),
    _row("default_audiovm", _V, _NONE, "The audiovm of qubes that name none."),
    _row("default_dispvm", _V, _NONE, "The default_dispvm of qubes that name none."),
    _row("default_guivm", _V, _NONE, "The guivm of qubes that name none."),
    _row(
        "default_kernel",
        _S,
        _NONE,
        "The kernel of qubes that name none; empty: they boot their own.",
    ),
    _row("default_netvm", _V, _NONE, "The netvm of qubes that name none."),
    _row("default_pool", _S, _NONE, "The pool for volumes that have no pool of their kind."),
    _row("default_pool_kernel", _S, _NONE, "The pool of kernels."),
    _row("default_pool_private", _S, _NONE, "The pool for new private volumes."),
    _row("default_pool_root", _S, _NONE, "The pool for new root volumes."),
    _row("default_pool_volatile", _S, _NONE, "The pool for new volatile volumes."),
    _row(
        "default_qrexec_timeout",
        _I,
        _NONE,
        "The qrexec_timeout of qubes that name none, in seconds.",
    ),
    _row(
        "default_shutdown_timeout",
        _I,
        _NONE,
        "The shutdown_timeout of qubes that name none, in seconds.",
    ),
    _row("default_template", _V, _NONE, "The template of new qubes whose creator names none."),
    _row("management_dispvm", _V, _NONE, "The management_dispvm of qubes that name none."),
    _row("maxmem", _I, _NONE, "The memory of the host, in MiB.", writable=_NO),
    _row("no_cpus", _I, _NONE, "How many processors the host has.", writable=_NO),
    _row("stats_interval", _I, _NONE, "How often figures of running qubes are taken, in seconds."),
    _row("updatevm", _V, _NONE, "The qube that the host's own updates come through."),
)

QUBE_PROPERTIES: Final[Mapping[PropertyName, PropertyRow]] = MappingProxyType(
    {row.name: row for row in _QUBE_ROWS}
)
SYSTEM_PROPERTIES: Final[Mapping[PropertyName, PropertyRow]] = MappingProxyType(
    {row.name: row for row in _SYSTEM_ROWS}
)
