"""Which values each property of a qube takes: a parsed value in, the one to keep out."""

import re
from typing import TYPE_CHECKING

from ..errors import BadValueError, PropertyValueError, QubeInUseError
from ..facts import PropertyValue
from ..names import PropertyName, QubeName
from ..spec.classes import ADMIN_VM, DISP_VM
from ..spec.properties import QUBE_PROPERTIES
from . import network
from .property import QubeCheck, positive

if TYPE_CHECKING:
    from .qube import Qube
    from .system import System

_P = PropertyName


def any_value(_system: "System", _qube: "Qube", value: PropertyValue) -> PropertyValue:
    """Take any value of the kind."""
    return value


def above_zero(name: str) -> QubeCheck:
    """Return a check that takes numbers above 0."""
    return lambda _system, _qube, value: positive(_P(name), value)


def maxmem(_system: "System", qube: "Qube", value: PropertyValue) -> PropertyValue:
    """Take 0 and more, but of dom0 nothing."""
    if qube.klass is ADMIN_VM:
        raise PropertyValueError("maxmem", "that of dom0 is the host's")
    if not isinstance(value, int) or value < 0:
        raise PropertyValueError("maxmem", "allowed: 0 or more")
    return value


def pattern(name: str, allowed: str, why: str, *, lower: bool = False) -> QubeCheck:
    """Return a check that takes texts of a pattern."""
    compiled = re.compile(allowed)

    def check(_system: "System", _qube: "Qube", value: PropertyValue) -> PropertyValue:
        text = str(value).lower() if lower else str(value)
        if not compiled.fullmatch(text):
            raise PropertyValueError(name, why)
        return text

    return check


def devices_denied(_system: "System", _qube: "Qube", value: PropertyValue) -> PropertyValue:
    """Take codes of interfaces; keep each once, in order."""
    text = str(value)
    if not re.fullmatch(r"([pubm?*][0-9a-f*]{6})*", text):
        raise PropertyValueError("devices_denied", "not codes of seven characters")
    return "".join(sorted({text[i : i + 7] for i in range(0, len(text), 7)}))


def label(system: "System", _qube: "Qube", value: PropertyValue) -> PropertyValue:
    """Take a label by its name or index; keep its name."""
    return system.label(str(value)).name


def kernel(system: "System", _qube: "Qube", value: PropertyValue) -> PropertyValue:
    """Take a kernel that can be booted, or none."""
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


def qube_or_none(name: str) -> QubeCheck:
    """Return a check that takes the name of a qube that exists, or none."""

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


def for_disposables(name: str) -> QubeCheck:
    """Return a check that takes a template for disposables, or none."""
    return lambda system, _qube, value: disposable_template(system, name, value)


def netvm(system: "System", qube: "Qube", value: PropertyValue) -> PropertyValue:
    """Take a qube that provides network and isn't below this one, or none."""
    above = known(system, "netvm", value)
    if above is None:
        return None
    if not network.provides_network(system, above):
        raise BadValueError("netvm", f"{above.name} does not provide network")
    if above is qube or qube in network.above(system, above):
        raise BadValueError("netvm", "a loop of netvms")
    return value


def provides_network(system: "System", qube: "Qube", value: PropertyValue) -> PropertyValue:
    """Refuse False while other qubes have this one as netvm."""
    if not value and network.clients(system, qube):
        raise BadValueError("provides_network", "other qubes have it as netvm")
    return value


def template_for_dispvms(system: "System", qube: "Qube", value: PropertyValue) -> PropertyValue:
    """Refuse False while others use this one as template for disposables."""
    if not value:
        for holder, name in system.references.to(qube.name):
            if "dispvm" in name or (holder is not None and holder.klass is DISP_VM):
                raise QubeInUseError(qube.name, f"as {name}")
    return value


def template(system: "System", qube: "Qube", value: PropertyValue) -> PropertyValue:
    """Take a template of the class that the qube needs."""
    base = known(system, "template", value)
    if base is None or base.klass.name != qube.klass.template:
        raise PropertyValueError("template", f"allowed: a {qube.klass.template}")
    if qube.klass is DISP_VM and not system.value(base, _P("template_for_dispvms")):
        raise BadValueError("template", f"{base.name} is not a template for disposables")
    return value


def kernelopts(_system: "System", _qube: "Qube", value: PropertyValue) -> PropertyValue:
    """Take words that fit the kernel's command line."""
    if len(str(value)) > 512:
        raise PropertyValueError("kernelopts", "longer than 512 characters")
    return value
