"""What each property of a qube is by default; `qube_checks` says which values it takes."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from ..facts import PropertyValue
from ..names import FeatureName, PropertyName, QubeName
from ..spec.classes import ADMIN_VM, APP_VM, DISP_VM, REMOTE_VM, TEMPLATE_VM
from ..spec.properties import QUBE_PROPERTIES
from . import network
from . import qube_checks as checks
from .feature import template_of
from .property import NO_DEFAULT, NoDefault, QubeCheck, QubeDefault, QubeProperty

if TYPE_CHECKING:
    from .qube import Qube
    from .system import System

_P = PropertyName


def fixed(value: PropertyValue) -> QubeDefault:
    """Return a default that is the same for every qube."""
    return lambda _system, _qube: value


def _none(_system: "System", _qube: "Qube") -> NoDefault:
    return NO_DEFAULT


def _from_template(name: str, otherwise: QubeDefault) -> QubeDefault:
    """Return a default that is the template's value, or where there is no template, another."""
    prop = _P(name)

    def default(system: "System", qube: "Qube") -> PropertyValue | NoDefault:
        template = template_of(system, qube)
        if template is None:
            return otherwise(system, qube)
        return QUBE[prop].value(system, template)

    return default


def _from_system(name: str) -> QubeDefault:
    prop = _P(name)
    return lambda system, _qube: system.value(None, prop)


def _identity(name: str) -> QubeDefault:
    """Return a default for what every qube has set, and dom0 has by nature."""

    def default(_system: "System", qube: "Qube") -> PropertyValue | NoDefault:
        if qube.klass is not ADMIN_VM:
            return NO_DEFAULT
        found: dict[str, PropertyValue] = {
            "name": qube.name,
            "qid": qube.qid,
            "uuid": str(qube.uuid),
        }
        return found[name]

    return default


def _maxmem(system: "System", qube: "Qube") -> PropertyValue:
    half = system.host.memory_mib // 2
    if qube.klass is ADMIN_VM:
        return system.host.memory_mib // 4
    memory = system.value(qube, _P("memory"))
    return min(10 * memory, half) if isinstance(memory, int) else half


def _icon(system: "System", qube: "Qube") -> str:
    kind = qube.klass.icon
    if qube.klass is not DISP_VM and qube.features.get(FeatureName("servicevm")):
        kind = "servicevm"
    elif qube.klass is APP_VM and system.value(qube, _P("template_for_dispvms")):
        kind = TEMPLATE_VM.icon
    return f"{kind}-{qube.properties.get(_P('label'))}"


def _keyboard(system: "System", qube: "Qube") -> PropertyValue:
    name = system.value(qube, _P("guivm")) if qube.klass.runs else None
    shows = system.qubes.get(QubeName(name)) if isinstance(name, str) else None
    if shows is None or shows is qube or shows.klass is REMOTE_VM:
        return "us++"
    own = shows.properties.get(_P("keyboard_layout"))
    return own if own is not None else "us++"


def _netvm_default(system: "System", qube: "Qube") -> PropertyValue:
    if qube.klass is TEMPLATE_VM:
        return None
    default = system.value(None, _P("default_netvm"))
    # A netvm isn't below itself, nor below what is below it.
    return None if default == qube.name else default


def _updateable(_system: "System", qube: "Qube") -> bool:
    return qube.klass is ADMIN_VM or qube.klass.owns_root


def _start_time(_system: "System", qube: "Qube") -> PropertyValue:
    start = qube.power.start_time_s
    return None if start is None else str(start)


def _networked(value: str) -> QubeDefault:
    return lambda system, qube: value if network.is_networked(system, qube) else None


def _gateway(name: str) -> QubeDefault:
    prop = _P(name)

    def default(system: "System", qube: "Qube") -> PropertyValue:
        return system.value(qube, prop) if network.provides_network(system, qube) else None

    return default


def _visible(feature: str, name: str) -> QubeDefault:
    """Return what the qube is told: a fake from a feature, else what it really has."""
    prop, fake = _P(name), FeatureName(feature)

    def default(system: "System", qube: "Qube") -> PropertyValue:
        return qube.features.get(fake) or system.value(qube, prop)

    return default


def _visible_gateway(feature: str, name: str) -> QubeDefault:
    prop, fake = _P(name), FeatureName(feature)

    def default(system: "System", qube: "Qube") -> PropertyValue:
        above = network.netvm(system, qube)
        if feature and fake in qube.features:
            return qube.features[fake]
        return None if above is None else system.value(above, prop)

    return default


def _visible_netmask(system: "System", qube: "Qube") -> PropertyValue:
    fake = qube.features.get(FeatureName("net.fake-netmask"))
    return fake or (None if network.netvm(system, qube) is None else "255.255.255.255")


_LAYOUT = r"[a-z][a-z0-9_]*\+[a-zA-Z0-9_-]*\+[a-zA-Z0-9_:,-]*"
_ROWS: Final[Mapping[str, tuple[QubeDefault, QubeCheck]]] = {
    "auto_cleanup": (fixed(False), checks.any_value),
    "autostart": (fixed(False), checks.any_value),
    "backup_timestamp": (fixed(None), checks.any_value),
    "debug": (fixed(False), checks.any_value),
    "default_user": (
        _from_template("default_user", fixed("user")),
        checks.pattern("default_user", r"[A-Za-z0-9_+,.-]*", "allowed: [A-Za-z0-9_+,.-]"),
    ),
    "devices_denied": (fixed(""), checks.devices_denied),
    "dispid": (_none, checks.any_value),
    "dns": (_networked(network.DNS), checks.any_value),
    "gateway": (_gateway("ip"), checks.any_value),
    "gateway6": (_gateway("ip6"), checks.any_value),
    "icon": (_icon, checks.any_value),
    "include_in_backups": (
        _from_template("include_in_backups", lambda _, qube: qube.klass is not REMOTE_VM),
        checks.any_value,
    ),
    "installed_by_rpm": (fixed(False), checks.any_value),
    "ip": (network.address, checks.any_value),
    "ip6": (network.address6, checks.any_value),
    "is_preload": (fixed(False), checks.any_value),
    "kernel": (_from_template("kernel", _from_system("default_kernel")), checks.kernel),
    "keyboard_layout": (
        _keyboard,
        checks.pattern("keyboard_layout", _LAYOUT, "allowed: layout+variant+options"),
    ),
    "klass": (lambda _, qube: qube.klass.name, checks.any_value),
    "label": (_none, checks.label),
    "mac": (
        fixed("00:16:3e:5e:6c:00"),
        checks.pattern("mac", r"([0-9a-f]{2}:){5}[0-9a-f]{2}", "not a MAC address", lower=True),
    ),
    "maxmem": (_from_template("maxmem", _maxmem), checks.maxmem),
    "memory": (_from_template("memory", fixed(400)), checks.above_zero("memory")),
    "name": (_identity("name"), checks.any_value),
    "provides_network": (fixed(False), checks.provides_network),
    "qid": (_identity("qid"), checks.any_value),
    "qrexec_timeout": (
        _from_template("qrexec_timeout", _from_system("default_qrexec_timeout")),
        checks.above_zero("qrexec_timeout"),
    ),
    "remote_name": (fixed(None), checks.any_value),
    "shutdown_timeout": (
        _from_template("shutdown_timeout", _from_system("default_shutdown_timeout")),
        checks.above_zero("shutdown_timeout"),
    ),
    "start_time": (_start_time, checks.any_value),
    "stubdom_mem": (fixed(None), checks.above_zero("stubdom_mem")),
    "stubdom_uuid": (fixed(None), checks.any_value),
    "stubdom_xid": (fixed(-1), checks.any_value),
    "template_for_dispvms": (fixed(False), checks.template_for_dispvms),
    "transport_rpc": (fixed(None), checks.any_value),
    "updateable": (_updateable, checks.any_value),
    "uuid": (_identity("uuid"), checks.any_value),
    "vcpus": (_from_template("vcpus", fixed(2)), checks.above_zero("vcpus")),
    "virt_mode": (
        _from_template("virt_mode", fixed("pvh")),
        checks.pattern("virt_mode", r"hvm|pv|pvh", "allowed: hvm, pv, pvh"),
    ),
    "visible_gateway": (_visible_gateway("net.fake-gateway", "gateway"), checks.any_value),
    "visible_gateway6": (_visible_gateway("", "gateway6"), checks.any_value),
    "visible_ip": (_visible("net.fake-ip", "ip"), checks.any_value),
    "visible_ip6": (_visible("", "ip6"), checks.any_value),
    "visible_netmask": (_visible_netmask, checks.any_value),
    "xid": (lambda _, qube: qube.power.xid, checks.any_value),
    "appvm_default_bootmode": (fixed("default"), checks.any_value),
    "audiovm": (_from_system("default_audiovm"), checks.qube_or_none("audiovm")),
    "bootmode": (_from_template("appvm_default_bootmode", fixed("default")), checks.any_value),
    "default_dispvm": (_from_system("default_dispvm"), checks.for_disposables("default_dispvm")),
    "guivm": (_from_system("default_guivm"), checks.qube_or_none("guivm")),
    "kernelopts": (_from_template("kernelopts", fixed("swiotlb=2048")), checks.kernelopts),
    "management_dispvm": (
        _from_template("management_dispvm", _from_system("management_dispvm")),
        checks.for_disposables("management_dispvm"),
    ),
    "netvm": (_netvm_default, checks.netvm),
    "relayvm": (fixed(None), checks.qube_or_none("relayvm")),
    "template": (_none, checks.template),
}
_REQUIRED = frozenset({"label", "template", "name", "qid", "uuid", "dispid"})
_HALTED = frozenset({"template"})

QUBE: Final[Mapping[PropertyName, QubeProperty]] = MappingProxyType(
    {
        name: QubeProperty(row, *_ROWS[name], required=name in _REQUIRED, halted=name in _HALTED)
        for name, row in QUBE_PROPERTIES.items()
    }
)
