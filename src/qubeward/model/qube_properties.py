"""What each property of a qube is by default, and which values it takes."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from ..errors import BadValueError, PropertyValueError, QubeInUseError
from ..facts import PropertyValue
from ..names import FeatureName, PropertyName, QubeName
from ..spec.classes import ADMIN_VM, APP_VM, DISP_VM, REMOTE_VM, TEMPLATE_VM
from ..spec.properties import QUBE_PROPERTIES
from . import network
from .feature import template_of
from .property import NO_DEFAULT, NoDefault, QubeCheck, QubeDefault, QubeProperty, positive

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
        found: PropertyValue = {"name": qube.name, "qid": qube.qid, "uuid": str(qube.uuid)}[name]
        return found

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


# Checks: a parsed value in, the one to keep out.


def _any(_system: "System", _qube: "Qube", value: PropertyValue) -> PropertyValue:
    return value


def _positive(name: str) -> QubeCheck:
    return lambda _system, _qube, value: positive(_P(name), value)


def _not_negative(_system: "System", qube: "Qube", value: PropertyValue) -> PropertyValue:
    if qube.klass is ADMIN_VM:
        raise PropertyValueError("maxmem", "that of dom0 is the host's")
    if not isinstance(value, int) or value < 0:
        raise PropertyValueError("maxmem", "allowed: 0 or more")
    return value


def _pattern(name: str, pattern: str, why: str, *, lower: bool = False) -> QubeCheck:
    compiled = re.compile(pattern)

    def check(_system: "System", _qube: "Qube", value: PropertyValue) -> PropertyValue:
        text = str(value).lower() if lower else str(value)
        if not compiled.fullmatch(text):
            raise PropertyValueError(name, why)
        return text

    return check


def _denied(_system: "System", _qube: "Qube", value: PropertyValue) -> PropertyValue:
    text = str(value)
    if not re.fullmatch(r"([pubm?*][0-9a-f*]{6})*", text):
        raise PropertyValueError("devices_denied", "not codes of seven characters")
    return "".join(sorted({text[i : i + 7] for i in range(0, len(text), 7)}))


def _label(system: "System", _qube: "Qube", value: PropertyValue) -> PropertyValue:
    return system.label(str(value)).name


def _kernel(system: "System", _qube: "Qube", value: PropertyValue) -> PropertyValue:
    if value and not system.has_kernel(str(value)):
        raise PropertyValueError("kernel", "no such kernel")
    return value


def known(system: "System", name: str, value: PropertyValue) -> "Qube | None":
    """Return the qube that a value names (None: none), or raise `PropertyValueError`."""
    if value is None:
        return None
    qube = system.qubes.get(QubeName(str(value)))
    if qube is None:
        raise PropertyValueError(name, f"no such domain: {value}")
    return qube


def _qube(name: str) -> QubeCheck:
    def check(system: "System", _qube: "Qube", value: PropertyValue) -> PropertyValue:
        known(system, name, value)
        return value

    return check


def disposable_template(system: "System", name: str, value: PropertyValue) -> PropertyValue:
    """Return the value if disposables may be made from the qube it names, or raise."""
    qube = known(system, name, value)
    base = _P("template_for_dispvms")
    if qube is not None and not (
        qube.klass.name in QUBE_PROPERTIES[base].classes and system.value(qube, base)
    ):
        raise PropertyValueError(name, "not a template for disposables")
    return value


def _disposable_template(name: str) -> QubeCheck:
    return lambda system, _qube, value: disposable_template(system, name, value)


def _netvm(system: "System", qube: "Qube", value: PropertyValue) -> PropertyValue:
    above = known(system, "netvm", value)
    if above is None:
        return None
    if not network.provides_network(system, above):
        raise BadValueError("netvm", f"{above.name} does not provide network")
    here: Qube | None = above
    while here is not None:
        if here is qube:
            raise BadValueError("netvm", "a loop of netvms")
        here = network.netvm(system, here)
    return value


def _provides_network(system: "System", qube: "Qube", value: PropertyValue) -> PropertyValue:
    if not value and network.clients(system, qube):
        raise BadValueError("provides_network", "other qubes have it as netvm")
    return value


def _for_dispvms(system: "System", qube: "Qube", value: PropertyValue) -> PropertyValue:
    if not value:
        for holder, name in system.references.to(qube.name):
            if "dispvm" in name or (holder is not None and holder.klass is DISP_VM):
                raise QubeInUseError(qube.name, f"as {name}")
    return value


def _template(system: "System", qube: "Qube", value: PropertyValue) -> PropertyValue:
    template = known(system, "template", value)
    if template is None or template.klass.name != qube.klass.template:
        raise PropertyValueError("template", f"allowed: a {qube.klass.template}")
    if qube.klass is DISP_VM and not system.value(template, _P("template_for_dispvms")):
        raise BadValueError("template", f"{template.name} is not a template for disposables")
    return value


def _options(_system: "System", _qube: "Qube", value: PropertyValue) -> PropertyValue:
    if len(str(value)) > 512:
        raise PropertyValueError("kernelopts", "longer than 512 characters")
    return value


_LAYOUT = r"[a-z][a-z0-9_]*\+[a-zA-Z0-9_-]*\+[a-zA-Z0-9_:,-]*"
_ROWS: Final[Mapping[str, tuple[QubeDefault, QubeCheck]]] = {
    "auto_cleanup": (fixed(False), _any),
    "autostart": (fixed(False), _any),
    "backup_timestamp": (fixed(None), _any),
    "debug": (fixed(False), _any),
    "default_user": (
        _from_template("default_user", fixed("user")),
        _pattern("default_user", r"[A-Za-z0-9_+,.-]*", "allowed: [A-Za-z0-9_+,.-]"),
    ),
    "devices_denied": (fixed(""), _denied),
    "dispid": (_none, _any),
    "dns": (_networked(network.DNS), _any),
    "gateway": (_gateway("ip"), _any),
    "gateway6": (_gateway("ip6"), _any),
    "icon": (_icon, _any),
    "include_in_backups": (
        _from_template("include_in_backups", lambda _, qube: qube.klass is not REMOTE_VM),
        _any,
    ),
    "installed_by_rpm": (fixed(False), _any),
    "ip": (network.address, _any),
    "ip6": (network.address6, _any),
    "is_preload": (fixed(False), _any),
    "kernel": (_from_template("kernel", _from_system("default_kernel")), _kernel),
    "keyboard_layout": (
        _keyboard,
        _pattern("keyboard_layout", _LAYOUT, "allowed: layout+variant+options"),
    ),
    "klass": (lambda _, qube: qube.klass.name, _any),
    "label": (_none, _label),
    "mac": (
        fixed("00:16:3e:5e:6c:00"),
        _pattern("mac", r"([0-9a-f]{2}:){5}[0-9a-f]{2}", "not a MAC address", lower=True),
    ),
    "maxmem": (_maxmem, _not_negative),
    "memory": (_from_template("memory", fixed(400)), _positive("memory")),
    "name": (_identity("name"), _any),
    "provides_network": (fixed(False), _provides_network),
    "qid": (_identity("qid"), _any),
    "qrexec_timeout": (
        _from_template("qrexec_timeout", _from_system("default_qrexec_timeout")),
        _positive("qrexec_timeout"),
    ),
    "remote_name": (fixed(None), _any),
    "shutdown_timeout": (
        _from_template("shutdown_timeout", _from_system("default_shutdown_timeout")),
        _positive("shutdown_timeout"),
    ),
    "start_time": (_start_time, _any),
    "stubdom_mem": (fixed(None), _positive("stubdom_mem")),
    "stubdom_uuid": (fixed(None), _any),
    "stubdom_xid": (fixed(-1), _any),
    "template_for_dispvms": (fixed(False), _for_dispvms),
    "transport_rpc": (fixed(None), _any),
    "updateable": (_updateable, _any),
    "uuid": (_identity("uuid"), _any),
    "vcpus": (_from_template("vcpus", fixed(2)), _positive("vcpus")),
    "virt_mode": (
        _from_template("virt_mode", fixed("pvh")),
        _pattern("virt_mode", r"hvm|pv|pvh", "allowed: hvm, pv, pvh"),
    ),
    "visible_gateway": (_visible_gateway("net.fake-gateway", "gateway"), _any),
    "visible_gateway6": (_visible_gateway("", "gateway6"), _any),
    "visible_ip": (_visible("net.fake-ip", "ip"), _any),
    "visible_ip6": (_visible("", "ip6"), _any),
    "visible_netmask": (_visible_netmask, _any),
    "xid": (lambda _, qube: qube.power.xid, _any),
    "appvm_default_bootmode": (fixed("default"), _any),
    "audiovm": (_from_system("default_audiovm"), _qube("audiovm")),
    "bootmode": (_from_template("appvm_default_bootmode", fixed("default")), _any),
    "default_dispvm": (_from_system("default_dispvm"), _disposable_template("default_dispvm")),
    "guivm": (_from_system("default_guivm"), _qube("guivm")),
    "kernelopts": (_from_template("kernelopts", fixed("swiotlb=2048")), _options),
    "management_dispvm": (
        _from_template("management_dispvm", _from_system("management_dispvm")),
        _disposable_template("management_dispvm"),
    ),
    "netvm": (_netvm_default, _netvm),
    "relayvm": (fixed(None), _qube("relayvm")),
    "template": (_none, _template),
}
_REQUIRED = frozenset({"label", "template", "name", "qid", "uuid", "dispid"})
_HALTED = frozenset({"template"})

QUBE: Final[Mapping[PropertyName, QubeProperty]] = MappingProxyType(
    {
        name: QubeProperty(row, *_ROWS[name], required=name in _REQUIRED, halted=name in _HALTED)
        for name, row in QUBE_PROPERTIES.items()
    }
)
