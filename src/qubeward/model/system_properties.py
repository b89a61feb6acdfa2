"""What each property of the system is by default, and which values it takes."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from ..errors import PropertyValueError
from ..facts import PropertyValue
from ..names import ADMIN, PoolName, PropertyName
from ..spec.classes import TEMPLATE_VM
from ..spec.properties import SYSTEM_PROPERTIES
from . import network
from .pool import VARLIBQUBES
from .property import NO_DEFAULT, NoDefault, SystemCheck, SystemDefault, SystemProperty
from .qube_checks import disposable_template, known

if TYPE_CHECKING:
    from .system import System


def _fixed(value: PropertyValue) -> SystemDefault:
    return lambda _: value


def _none(_system: "System") -> NoDefault:
    return NO_DEFAULT


def _pool_default(system: "System") -> PropertyValue:
    for name in (PoolName("default"), VARLIBQUBES):
        if name in system.pools:
            return name
    return next(iter(system.pools), None)


def _any(_system: "System", value: PropertyValue) -> PropertyValue:
    return value


def _qube(name: str) -> SystemCheck:
    def check(system: "System", value: PropertyValue) -> PropertyValue:
        known(system, name, value)
        return value

    return check


def _dispvm(name: str) -> SystemCheck:
    return lambda system, value: disposable_template(system, name, value)


def _pool(name: str) -> SystemCheck:
    def check(system: "System", value: PropertyValue) -> PropertyValue:
        if value not in system.pools:
            raise PropertyValueError(name, "no such pool")
        return value

    return check


def _netvm(system: "System", value: PropertyValue) -> PropertyValue:
    qube = known(system, "default_netvm", value)
    if qube is not None and not network.provides_network(system, qube):
        raise PropertyValueError("default_netvm", f"{qube.name} does not provide network")
    below = None if qube is None else network.takes_default(system, qube)
    if below is not None:
        raise PropertyValueError("default_netvm", f"a loop of netvms, by {below.name}")
    return value


def _template(system: "System", value: PropertyValue) -> PropertyValue:
    qube = known(system, "default_template", value)
    if qube is not None and qube.klass is not TEMPLATE_VM:
        raise PropertyValueError("default_template", f"{qube.name} is not a template")
    return value


def _kernel(system: "System", value: PropertyValue) -> PropertyValue:
    if value and not system.has_kernel(str(value)):
        raise PropertyValueError("default_kernel", "no such kernel")
    return value


_POOL_DEFAULT: SystemDefault = lambda system: system.value(None, PropertyName("default_pool"))  # noqa: E731
_ROWS: Final[Mapping[str, tuple[SystemDefault, SystemCheck]]] = {
    "check_updates_vm": (_fixed(True), _any),
    "clockvm": (_fixed(None), _qube("clockvm")),
    "default_audiovm": (_fixed(ADMIN), _qube("default_audiovm")),
    "default_dispvm": (_fixed(None), _dispvm("default_dispvm")),
    "default_guivm": (_fixed(ADMIN), _qube("default_guivm")),
    "default_kernel": (_none, _kernel),
    "default_netvm": (_fixed(None), _netvm),
    "default_pool": (_pool_default, _pool("default_pool")),
    "default_pool_kernel": (_POOL_DEFAULT, _pool("default_pool_kernel")),
    "default_pool_private": (_POOL_DEFAULT, _pool("default_pool_private")),
    "default_pool_root": (_POOL_DEFAULT, _pool("default_pool_root")),
    "default_pool_volatile": (_POOL_DEFAULT, _pool("default_pool_volatile")),
    "default_qrexec_timeout": (_fixed(60), _any),
    "default_shutdown_timeout": (_fixed(60), _any),
    "default_template": (_none, _template),
    "management_dispvm": (_fixed(None), _dispvm("management_dispvm")),
    "maxmem": (lambda system: system.host.memory_mib, _any),
    "no_cpus": (lambda system: system.host.cpus, _any),
    "stats_interval": (_fixed(3), _any),
    "updatevm": (_fixed(None), _qube("updatevm")),
}

SYSTEM: Final[Mapping[PropertyName, SystemProperty]] = MappingProxyType(
    {name: SystemProperty(row, *_ROWS[name]) for name, row in SYSTEM_PROPERTIES.items()}
)
