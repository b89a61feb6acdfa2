"""Defaults and checks of every property of a qube (ADMIN-API §5.2)."""

import pytest

from qubeward.errors import AdminError
from qubeward.model import feature
from qubeward.model.property import NoDefault, refuse_fixed
from qubeward.model.qube_properties import QUBE
from qubeward.model.system import System
from qubeward.names import FeatureName, PropertyName
from qubeward.spec.classes import CLASSES
from qubeward.spec.properties import QUBE_PROPERTIES, Writable
from unit.model.systems import add, empty_system, give

P = PropertyName
REFUSED = object()


def peopled() -> System:
    system = empty_system()
    add(system, "tpl", "TemplateVM")
    add(system, "tpl2", "TemplateVM")
    add(system, "net", template="tpl", provides_network=True)
    add(system, "work", template="tpl", netvm="net")
    add(system, "alone", "StandaloneVM")
    add(system, "base", template="tpl", template_for_dispvms=True)
    add(system, "disp", "DispVM", template="base", dispid=1234)
    add(system, "far", "RemoteVM")
    return system


def default(system: System, qube: str, name: str):
    return QUBE[P(name)].default(system, system.qube(qube))


# property, qube, default: with the system as `peopled` makes it (host: 16384 MiB, 4 processors)
DEFAULTS = [
    ("auto_cleanup", "disp", False),
    ("autostart", "work", False),
    ("backup_timestamp", "work", None),
    ("debug", "work", False),
    ("default_user", "work", "user"),
    ("devices_denied", "work", ""),
    ("devices_denied", "dom0", ""),
    ("dispid", "disp", REFUSED),
    ("dns", "work", "10.139.1.1 10.139.1.2"),
    ("dns", "alone", None),
    ("gateway", "net", "10.137.0.3"),
    ("gateway", "work", None),
    ("gateway6", "net", None),
    ("icon", "work", "appvm-red"),
    ("icon", "tpl", "templatevm-red"),
    ("icon", "alone", "standalonevm-red"),
    ("icon", "base", "templatevm-red"),
    ("icon", "disp", "dispvm-red"),
    ("icon", "dom0", "adminvm-black"),
    ("include_in_backups", "work", True),
    ("include_in_backups", "far", False),
    ("include_in_backups", "dom0", True),
    ("installed_by_rpm", "work", False),
    ("ip", "work", "10.137.0.4"),
    ("ip", "alone", None),
    ("ip6", "work", None),
    ("is_preload", "disp", False),
    ("kernel", "work", None),
    ("keyboard_layout", "work", "us++"),
    ("keyboard_layout", "dom0", "us++"),
    ("klass", "work", "AppVM"),
    ("klass", "dom0", "AdminVM"),
    ("label", "work", REFUSED),
    ("mac", "work", "00:16:3e:5e:6c:00"),
    ("maxmem", "work", 4000),
    ("maxmem", "dom0", 4096),
    ("memory", "work", 400),
    ("name", "work", REFUSED),
    ("name", "dom0", "dom0"),
    ("provides_network", "work", False),
    ("qid", "work", REFUSED),
    ("qid", "dom0", 0),
    ("qrexec_timeout", "work", 60),
    ("remote_name", "far", None),
    ("shutdown_timeout", "work", 60),
    ("start_time", "work", None),
    ("stubdom_mem", "work", None),
    ("stubdom_uuid", "work", None),
    ("stubdom_xid", "work", -1),
    ("template_for_dispvms", "work", False),
    ("template_for_dispvms", "alone", False),
    ("transport_rpc", "far", None),
    ("updateable", "work", False),
    ("updateable", "tpl", True),
    ("updateable", "alone", True),
    ("updateable", "disp", False),
    ("updateable", "dom0", True),
    ("uuid", "work", REFUSED),
    ("uuid", "dom0", "00000000-0000-0000-0000-000000000000"),
    ("vcpus", "work", 2),
    ("virt_mode", "work", "pvh"),
    ("visible_gateway", "work", "10.137.0.3"),
    ("visible_gateway", "alone", None),
    ("visible_gateway6", "work", None),
    ("visible_ip", "work", "10.137.0.4"),
    ("visible_ip6", "work", None),
    ("visible_netmask", "work", "255.255.255.255"),
    ("visible_netmask", "alone", None),
    ("xid", "work", -1),
    ("appvm_default_bootmode", "tpl", "default"),
    ("audiovm", "work", "dom0"),
    ("bootmode", "work", "default"),
    ("default_dispvm", "work", None),
    ("guivm", "work", "dom0"),
    ("kernelopts", "work", "swiotlb=2048"),
    ("management_dispvm", "work", None),
    ("netvm", "work", None),
    ("netvm", "tpl", None),
    ("relayvm", "far", None),
    ("template", "work", REFUSED),
]


def test_every_property_has_a_tested_default() -> None:
    assert {name for name, _, _ in DEFAULTS} == set(QUBE_PROPERTIES)


@pytest.mark.parametrize(("name", "qube", "expected"), DEFAULTS)
def test_the_default_is(name, qube, expected) -> None:
    found = default(peopled(), qube, name)
    assert isinstance(found, NoDefault) if expected is REFUSED else found == expected


# Falls back to the template's own value: property, value.
FROM_TEMPLATE = [
    ("default_user", "root"),
    ("include_in_backups", False),
    ("kernel", ""),
    ("kernelopts", "quiet"),
    ("management_dispvm", "base"),
    ("memory", 1000),
    ("qrexec_timeout", 7),
    ("shutdown_timeout", 8),
    ("vcpus", 3),
    ("virt_mode", "hvm"),
]


@pytest.mark.parametrize(("name", "value"), FROM_TEMPLATE)
def test_the_default_falls_back_to_the_template(name, value) -> None:
    system = peopled()
    give(system, "tpl", name, value)
    assert default(system, "work", name) == value
    assert default(system, "disp", name) == value  # by way of its template's template
    give(system, "base", name, None)
    assert default(system, "disp", name) is None


def test_the_boot_mode_is_the_template_s_for_those_based_on_it() -> None:
    system = peopled()
    give(system, "tpl", "appvm_default_bootmode", "safe")
    assert default(system, "work", "bootmode") == "safe"
    assert default(system, "tpl", "bootmode") == "default"


# Falls back to the system's: property, of the system, value.
FROM_SYSTEM = [
    ("kernel", "default_kernel", "6.1"),
    ("qrexec_timeout", "default_qrexec_timeout", 9),
    ("shutdown_timeout", "default_shutdown_timeout", 9),
    ("audiovm", "default_audiovm", "net"),
    ("guivm", "default_guivm", None),
    ("default_dispvm", "default_dispvm", "base"),
    ("management_dispvm", "management_dispvm", "base"),
    ("netvm", "default_netvm", "net"),
]


@pytest.mark.parametrize(("name", "of_system", "value"), FROM_SYSTEM)
def test_the_default_is_the_system_s(name, of_system, value) -> None:
    system = peopled()
    give(system, None, of_system, value)
    assert default(system, "alone", name) == value


def test_the_netvm_of_a_template_is_none_whatever_the_default() -> None:
    system = peopled()
    give(system, None, "default_netvm", "net")
    assert default(system, "tpl", "netvm") is None
    assert default(system, "net", "netvm") is None  # nor is it below itself


def test_most_memory_follows_memory_up_to_half_the_host() -> None:
    system = peopled()
    give(system, "alone", "memory", 100)
    assert default(system, "alone", "maxmem") == 1000
    give(system, "alone", "memory", 10_000)
    assert default(system, "alone", "maxmem") == 8192


def test_most_memory_is_the_templates_where_there_is_one() -> None:
    system = peopled()
    give(system, "tpl", "maxmem", 1234)
    assert default(system, "work", "maxmem") == 1234


def test_the_keyboard_is_that_of_the_guivm() -> None:
    system = peopled()
    give(system, "dom0", "keyboard_layout", "de++")
    assert default(system, "work", "keyboard_layout") == "de++"
    give(system, "work", "guivm", None)
    assert default(system, "work", "keyboard_layout") == "us++"


def test_a_service_shows_it_in_its_icon() -> None:
    system = peopled()
    with system.change() as change:
        change.set_feature(system.qube("work"), FeatureName("servicevm"), "1")
    assert default(system, "work", "icon") == "servicevm-red"


def test_features_fake_the_addresses_that_a_qube_is_told() -> None:
    system = peopled()
    work = system.qube("work")
    with system.change() as change:
        change.set_feature(work, FeatureName("net.fake-ip"), "192.168.1.2")
        change.set_feature(work, FeatureName("net.fake-gateway"), "192.168.1.1")
        change.set_feature(work, FeatureName("net.fake-netmask"), "255.255.255.0")
    assert default(system, "work", "visible_ip") == "192.168.1.2"
    assert default(system, "work", "visible_gateway") == "192.168.1.1"
    assert default(system, "work", "visible_netmask") == "255.255.255.0"
    assert default(system, "work", "ip") == "10.137.0.4"


def test_power_shows_in_properties() -> None:
    system = peopled()
    power = system.qube("work").power
    power.xid, power.start_time_s = 7, 1234.5
    assert default(system, "work", "xid") == 7
    assert default(system, "work", "start_time") == "1234.5"


# property, qube, value, what is kept (REFUSED: nothing)
CHECKS = [
    ("auto_cleanup", "disp", True, True),
    ("autostart", "work", True, True),
    ("backup_timestamp", "work", 1234, 1234),
    ("debug", "work", True, True),
    ("default_user", "work", "me_2+-,.", "me_2+-,."),
    ("default_user", "work", "a b", REFUSED),
    ("default_user", "work", "a/b", REFUSED),
    ("devices_denied", "work", "", ""),
    ("devices_denied", "work", "u02****p0c03**u02****", "p0c03**u02****"),
    ("devices_denied", "work", "x02****", REFUSED),
    ("devices_denied", "work", "u02***", REFUSED),
    ("devices_denied", "work", "u02***G", REFUSED),
    ("include_in_backups", "work", False, False),
    ("installed_by_rpm", "work", True, True),
    ("ip", "work", "10.1.1.1", "10.1.1.1"),
    ("ip6", "work", "fd09::1", "fd09::1"),
    ("kernel", "work", "6.1", "6.1"),
    ("kernel", "work", "", ""),
    ("kernel", "work", "none-such", REFUSED),
    ("keyboard_layout", "work", "us++", "us++"),
    ("keyboard_layout", "work", "us+intl+grp:alt", "us+intl+grp:alt"),
    ("keyboard_layout", "work", "us", REFUSED),
    ("keyboard_layout", "work", "us+a b+", REFUSED),
    ("keyboard_layout", "work", "", REFUSED),
    ("label", "work", "blue", "blue"),
    ("label", "work", "6", "blue"),
    ("label", "work", "label-6", "blue"),
    ("label", "work", "mauve", REFUSED),
    ("label", "work", "99", REFUSED),
    ("mac", "work", "00:16:3E:5E:6C:01", "00:16:3e:5e:6c:01"),
    ("mac", "work", "00:16:3e:5e:6c", REFUSED),
    ("mac", "work", "00:16:3e:5e:6c:0g", REFUSED),
    ("mac", "work", "", REFUSED),
    ("maxmem", "work", 0, 0),
    ("maxmem", "work", 4000, 4000),
    ("maxmem", "work", -1, REFUSED),
    ("maxmem", "dom0", 4000, REFUSED),
    ("memory", "work", 1, 1),
    ("memory", "work", 0, REFUSED),
    ("memory", "work", -400, REFUSED),
    ("provides_network", "work", True, True),
    ("provides_network", "work", False, False),
    ("provides_network", "net", False, REFUSED),  # `work` has it as netvm
    ("qrexec_timeout", "work", 1, 1),
    ("qrexec_timeout", "work", 0, REFUSED),
    ("remote_name", "far", "anything", "anything"),
    ("shutdown_timeout", "work", 1, 1),
    ("shutdown_timeout", "work", -1, REFUSED),
    ("stubdom_mem", "work", 64, 64),
    ("stubdom_mem", "work", 0, REFUSED),
    ("template_for_dispvms", "work", True, True),
    ("template_for_dispvms", "work", False, False),
    ("template_for_dispvms", "base", False, REFUSED),  # `disp` is based on it
    ("transport_rpc", "far", "qubes.Air", "qubes.Air"),
    ("vcpus", "work", 8, 8),
    ("vcpus", "work", 0, REFUSED),
    ("virt_mode", "work", "hvm", "hvm"),
    ("virt_mode", "work", "pvh", "pvh"),
    ("virt_mode", "work", "pv", "pv"),
    ("virt_mode", "work", "PVH", REFUSED),
    ("virt_mode", "work", "", REFUSED),
    ("appvm_default_bootmode", "tpl", "safe", "safe"),
    ("audiovm", "work", "net", "net"),
    ("audiovm", "work", None, None),
    ("audiovm", "work", "nobody", REFUSED),
    ("bootmode", "work", "safe", "safe"),
    ("default_dispvm", "work", "base", "base"),
    ("default_dispvm", "work", None, None),
    ("default_dispvm", "work", "net", REFUSED),
    ("default_dispvm", "work", "tpl", REFUSED),
    ("default_dispvm", "work", "dom0", REFUSED),
    ("guivm", "work", "net", "net"),
    ("guivm", "work", "nobody", REFUSED),
    ("kernelopts", "work", "x" * 512, "x" * 512),
    ("kernelopts", "work", "x" * 513, REFUSED),
    ("management_dispvm", "work", "base", "base"),
    ("management_dispvm", "work", "work", REFUSED),
    ("netvm", "alone", "net", "net"),
    ("netvm", "alone", None, None),
    ("netvm", "alone", "work", REFUSED),
    ("netvm", "alone", "nobody", REFUSED),
    ("netvm", "alone", "dom0", REFUSED),
    ("netvm", "net", "net", REFUSED),
    ("relayvm", "far", "work", "work"),
    ("relayvm", "far", "nobody", REFUSED),
    ("template", "work", "tpl2", "tpl2"),
    ("template", "work", "base", REFUSED),
    ("template", "work", "alone", REFUSED),
    ("template", "work", None, REFUSED),
    ("template", "work", "nobody", REFUSED),
    ("template", "disp", "base", "base"),
    ("template", "disp", "work", REFUSED),  # not for disposables
    ("template", "disp", "tpl", REFUSED),
]


def test_every_writable_property_has_tested_checks() -> None:
    writable = {n for n, row in QUBE_PROPERTIES.items() if row.writable is Writable.YES}
    assert {name for name, _, _, _ in CHECKS} == writable


@pytest.mark.parametrize(("name", "qube", "value", "kept"), CHECKS)
def test_the_check_keeps_or_refuses(name, qube, value, kept) -> None:
    system = peopled()
    system.has_kernel = lambda version: version == "6.1"
    check = QUBE[P(name)].check
    if kept is REFUSED:
        with pytest.raises(AdminError):
            check(system, system.qube(qube), value)
    else:
        assert check(system, system.qube(qube), value) == kept


@pytest.mark.parametrize("holder", ["dom0", "far", "work"])
def test_a_template_for_disposables_stays_one_while_it_is_referred_to(holder) -> None:
    system = peopled()
    add(system, "base2", template="tpl", template_for_dispvms=True)
    check = QUBE[P("template_for_dispvms")].check
    check(system, system.qube("base2"), False)
    give(system, None if holder == "dom0" else holder, "default_dispvm", "base2")
    with pytest.raises(AdminError):
        check(system, system.qube("base2"), False)


@pytest.mark.parametrize("name", QUBE_PROPERTIES)
def test_what_no_call_sets_is_refused(name) -> None:
    row = QUBE_PROPERTIES[name]
    if row.writable is Writable.YES:
        refuse_fixed(row)
    else:
        with pytest.raises(AdminError):
            refuse_fixed(row)


@pytest.mark.parametrize("klass", CLASSES)
def test_every_property_of_every_class_has_a_value(klass) -> None:
    system = peopled()
    qube = next(q for q in system.qubes.values() if q.klass.name == klass)
    for prop in QUBE.values():
        if klass in prop.row.classes:
            prop.value(system, qube)


@pytest.mark.parametrize("klass", ["AppVM", "DispVM"])
def test_properties_survive_a_template_that_is_gone(klass) -> None:
    system = peopled()
    qube = next(q for q in system.qubes.values() if q.klass.name == klass)
    qube.properties[P("template")] = "gone"
    qube.properties[P("netvm")] = qube.properties[P("guivm")] = "gone"
    for prop in QUBE.values():
        if klass in prop.row.classes:
            prop.value(system, qube)


@pytest.mark.parametrize(("name", "template"), [("work", "work"), ("work", "disp"), ("tpl", "tpl")])
def test_a_template_of_the_wrong_class_in_a_store_edited_by_hand_is_none(name, template) -> None:
    system = peopled()
    qube = system.qube(name)
    qube.properties[P("template")] = template
    assert default(system, name, "memory") == 400
    assert [q.name for q in feature.templates(system, qube)] == [name]
