"""Addresses from numbers, and no netvm above itself."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qubeward.errors import AdminError
from qubeward.model import network
from qubeward.model.qube_properties import QUBE
from qubeward.model.system import System
from qubeward.model.system_properties import SYSTEM
from qubeward.names import FeatureName, PropertyName
from unit.model.systems import add, empty_system, give

P = PropertyName


def router(system: System, name: str, **properties):
    return add(system, name, "StandaloneVM", provides_network=True, **properties)


def numbered(qid: int) -> tuple[System, object]:
    system = empty_system()
    qube = router(system, "net")
    qube.qid = qid
    return system, qube


ADDRESSES = [
    (1, "10.137.0.1"),
    (254, "10.137.0.254"),
    (255, "10.137.1.1"),
    (256, "10.137.1.2"),
    (508, "10.137.1.254"),
    (509, "10.137.2.1"),
    (10000, "10.137.39.94"),
]


@pytest.mark.parametrize(("qid", "address"), ADDRESSES)
def test_the_address_comes_from_the_number(qid, address) -> None:
    assert network.address(*numbered(qid)) == address


def test_no_two_numbers_share_an_address_and_none_is_a_network_s_own() -> None:
    system, qube = numbered(1)
    seen = set()
    for qid in range(1, 10001):
        qube.qid = qid
        address = network.address(system, qube)
        assert ipaddress.ip_address(address) in ipaddress.ip_network("10.137.0.0/16")
        assert address.rsplit(".")[-1] not in ("0", "255")
        seen.add(address)
    assert len(seen) == 10000


def test_a_disposable_has_its_own_block_by_its_own_number() -> None:
    system = empty_system()
    router(system, "net", netvm=None)
    add(system, "base", template_for_dispvms=True)
    disp = add(system, "disp", "DispVM", template="base", dispid=1234, netvm="net")
    assert network.address(system, disp) == "10.138.4.218"
    with system.change() as change:
        change.set_feature(system.qube("net"), FeatureName("ipv6"), "1")
    assert network.address6(system, disp) == "fd09:24ef:4179::a8a:4d2"


def test_ip6_needs_the_feature_of_the_qube_or_of_what_is_above_it() -> None:
    system = empty_system()
    router(system, "top", netvm=None)
    router(system, "mid", netvm="top")
    work = add(system, "work", netvm="mid")
    assert network.address6(system, work) is None
    with system.change() as change:
        change.set_feature(system.qube("top"), FeatureName("ipv6"), "1")
    assert network.address6(system, work) == f"fd09:24ef:4179::a89:{work.qid:x}"
    with system.change() as change:
        change.set_feature(system.qube("mid"), FeatureName("ipv6"), "")
    assert network.address6(system, work) is None


def test_off_the_network_there_is_no_address() -> None:
    system = empty_system()
    work = add(system, "work")
    assert network.address(system, work) is None
    assert network.address6(system, work) is None


def test_clients_are_those_right_below_by_value_or_default() -> None:
    system = empty_system()
    net = router(system, "net", netvm=None)
    mid = router(system, "mid", netvm="net")
    low = add(system, "low", netvm="mid")
    add(system, "off", netvm=None)
    free = add(system, "free")
    assert network.clients(system, net) == [mid]
    assert network.clients(system, low) == []
    give(system, None, "default_netvm", "net")
    assert network.clients(system, net) == [mid, free]


def set_netvm(system: System, name: str, value: str | None) -> None:
    checked = QUBE[P("netvm")].check(system, system.qube(name), value)
    give(system, name, "netvm", checked)


def set_default(system: System, value: str | None) -> None:
    give(system, None, "default_netvm", SYSTEM[P("default_netvm")].check(system, value))


def test_a_loop_of_netvms_is_refused() -> None:
    system = empty_system()
    for name in "abc":
        router(system, name)
    set_netvm(system, "a", "b")
    set_netvm(system, "b", "c")
    for above in "abc":
        with pytest.raises(AdminError):
            set_netvm(system, "c", above)
    set_netvm(system, "c", None)


def test_a_loop_by_way_of_the_default_is_refused() -> None:
    system = empty_system()
    router(system, "fw")  # with the default as its netvm
    router(system, "net")
    set_default(system, "net")
    with pytest.raises(AdminError):
        set_netvm(system, "net", "fw")


def test_a_default_that_would_close_a_loop_is_refused() -> None:
    system = empty_system()
    router(system, "fw")  # with the default as its netvm, which is none so far
    router(system, "net")
    set_netvm(system, "net", "fw")
    with pytest.raises(AdminError):
        set_default(system, "net")
    set_netvm(system, "fw", None)
    set_default(system, "net")


def ends(system: System) -> bool:
    for qube in system.qubes.values():
        here, steps = network.netvm(system, qube), 0
        while here is not None:
            here, steps = network.netvm(system, here), steps + 1
            if steps > len(system.qubes):
                return False
    return True


NAMES = st.sampled_from("abcd")


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["netvm", "default", "reset"]), NAMES, NAMES | st.none()),
        max_size=25,
    )
)
def test_no_row_of_permitted_calls_makes_a_loop(steps) -> None:
    system = empty_system()
    for name in "abcd":
        router(system, name)
    netvm = QUBE[P("netvm")]
    for what, name, value in steps:
        qube = system.qube(name)
        try:
            if what == "netvm":
                set_netvm(system, name, value)
            elif what == "default":
                set_default(system, value)
            else:  # as the call does it
                netvm.check(system, qube, netvm.default(system, qube))
                with system.change() as change:
                    change.reset_property(qube, P("netvm"))
        except AdminError:
            pass
        assert ends(system)


def test_a_loop_in_a_store_edited_by_hand_hangs_nothing() -> None:
    system = empty_system()
    for name, above in (("a", "b"), ("b", "c"), ("c", "a")):
        router(system, name, netvm=above)
    router(system, "d", netvm="a")
    a, d = system.qube("a"), system.qube("d")
    assert [qube.name for qube in network.above(system, a)] == ["b", "c"]
    assert [qube.name for qube in network.above(system, d)] == ["a", "b", "c"]
    set_default(system, "d")
    with pytest.raises(AdminError):
        set_netvm(system, "a", "d")
