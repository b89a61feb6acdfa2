"""Defaults and checks of every property of the system (ADMIN-API §5.3)."""

import pytest

from qubeward.errors import AdminError
from qubeward.model.pool import Pool
from qubeward.model.property import NoDefault
from qubeward.model.system import System
from qubeward.model.system_properties import SYSTEM
from qubeward.names import PoolName, PropertyName
from qubeward.spec.properties import SYSTEM_PROPERTIES, Writable
from unit.model.systems import add, empty_system, give

P = PropertyName
REFUSED = object()


def peopled() -> System:
    system = empty_system()
    add(system, "tpl", "TemplateVM")
    add(system, "net", template="tpl", provides_network=True, netvm=None)
    add(system, "work", template="tpl")
    add(system, "base", template="tpl", template_for_dispvms=True)
    with system.change() as change:
        change.add_pool(Pool(PoolName("fast"), "memory", {}))
    system.has_kernel = lambda version: version == "6.1"
    return system


DEFAULTS = {
    "check_updates_vm": True,
    "clockvm": None,
    "default_audiovm": "dom0",
    "default_dispvm": None,
    "default_guivm": "dom0",
    "default_kernel": REFUSED,
    "default_netvm": None,
    "default_pool": "varlibqubes",
    "default_pool_kernel": "varlibqubes",
    "default_pool_private": "varlibqubes",
    "default_pool_root": "varlibqubes",
    "default_pool_volatile": "varlibqubes",
    "default_qrexec_timeout": 60,
    "default_shutdown_timeout": 60,
    "default_template": REFUSED,
    "management_dispvm": None,
    "maxmem": 16384,
    "no_cpus": 4,
    "stats_interval": 3,
    "updatevm": None,
}


def test_every_property_has_a_tested_default() -> None:
    assert set(DEFAULTS) == set(SYSTEM_PROPERTIES)


@pytest.mark.parametrize(("name", "expected"), DEFAULTS.items())
def test_the_default_is(name, expected) -> None:
    found = SYSTEM[P(name)].default(peopled())
    assert isinstance(found, NoDefault) if expected is REFUSED else found == expected


def test_a_pool_named_default_is_the_default() -> None:
    system = peopled()
    with system.change() as change:
        change.add_pool(Pool(PoolName("default"), "memory", {}))
    assert SYSTEM[P("default_pool_root")].default(system) == "default"


def test_pools_of_a_kind_follow_the_default_pool() -> None:
    system = peopled()
    give(system, None, "default_pool", "fast")
    for kind in ("kernel", "private", "root", "volatile"):
        assert SYSTEM[P(f"default_pool_{kind}")].default(system) == "fast"


CHECKS = [
    ("check_updates_vm", False, False),
    ("clockvm", "net", "net"),
    ("clockvm", None, None),
    ("clockvm", "nobody", REFUSED),
    ("default_audiovm", "net", "net"),
    ("default_audiovm", "nobody", REFUSED),
    ("default_dispvm", "base", "base"),
    ("default_dispvm", "work", REFUSED),
    ("default_dispvm", "nobody", REFUSED),
    ("default_guivm", None, None),
    ("default_guivm", "nobody", REFUSED),
    ("default_kernel", "6.1", "6.1"),
    ("default_kernel", "", ""),
    ("default_kernel", "5.0", REFUSED),
    ("default_netvm", "net", "net"),
    ("default_netvm", None, None),
    ("default_netvm", "work", REFUSED),
    ("default_netvm", "dom0", REFUSED),
    ("default_netvm", "nobody", REFUSED),
    *(
        (f"default_pool{kind}", pool, kept)
        for kind in ("", "_kernel", "_private", "_root", "_volatile")
        for pool, kept in (("fast", "fast"), ("none", REFUSED), ("", REFUSED))
    ),
    ("default_qrexec_timeout", 1, 1),
    ("default_shutdown_timeout", 1, 1),
    ("default_template", "tpl", "tpl"),
    ("default_template", None, None),
    ("default_template", "work", REFUSED),
    ("default_template", "nobody", REFUSED),
    ("management_dispvm", "base", "base"),
    ("management_dispvm", "work", REFUSED),
    ("stats_interval", 5, 5),
    ("updatevm", "net", "net"),
    ("updatevm", "nobody", REFUSED),
]


def test_every_writable_property_has_tested_checks() -> None:
    writable = {n for n, row in SYSTEM_PROPERTIES.items() if row.writable is Writable.YES}
    assert {name for name, _, _ in CHECKS} == writable


@pytest.mark.parametrize(("name", "value", "kept"), CHECKS)
def test_the_check_keeps_or_refuses(name, value, kept) -> None:
    system = peopled()
    check = SYSTEM[P(name)].check
    if kept is REFUSED:
        with pytest.raises(AdminError):
            check(system, value)
    else:
        assert check(system, value) == kept
