"""What libvirt says of a running domain is found in its XML."""

from uuid import uuid4

import pytest
from jinja2 import PackageLoader

from qubeward.hypervisor.description import find_target, find_tty, is_encrypted
from qubeward.hypervisor.domain import domain_xml, environment
from qubeward.hypervisor.driver import Disk, DomainSpec

SPEC = DomainSpec(
    uuid=uuid4(),
    name="work",
    memory_mib=1,
    max_memory_mib=1,
    vcpus=1,
    disks=(
        Disk(serial="root", path="/root.img"),
        Disk(serial="volatile", path="/volatile.img", format="luks"),
        Disk(serial="private", path="/private.img"),
    ),
)
XML = domain_xml(
    SPEC,
    environment(PackageLoader("qubeward.hypervisor")),
    accel="tcg",
    key_files={"volatile": "/keys/volatile"},
)


@pytest.mark.parametrize(
    ("serial", "target"),
    [("root", "vda"), ("private", "vdc"), ("volatile", None), ("vda", None), ("", None)],
)
def test_a_disk_is_found_by_its_serial(serial: str, target: str | None) -> None:
    assert find_target(XML, serial) == target


@pytest.mark.parametrize(
    ("serial", "encrypted"), [("volatile", True), ("root", False), ("kernel", False)]
)
def test_an_encrypted_disk_is_on_the_command_line(serial: str, *, encrypted: bool) -> None:
    assert is_encrypted(XML, serial) == encrypted


def test_words_of_other_kinds_on_the_command_line_are_passed_over() -> None:
    words = "<qemu:arg value='-s'/><qemu:env name='A' value='{'/><qemu:arg value='volatile'/>"
    xml = XML.replace("<qemu:commandline>", f"<qemu:commandline>{words}")
    assert is_encrypted(xml, "volatile")
    assert not is_encrypted(xml, "-s")


def test_the_console_is_the_first_serial_port_that_is_a_terminal() -> None:
    assert find_tty(XML) is None
    running = XML.replace("<serial type='pty'>", "<serial type='pty'><source path='/dev/pts/7'/>")
    assert find_tty(running) == "/dev/pts/7"
    socket = "<serial type='unix'><source path='/socket'/></serial>"
    assert find_tty(running.replace("<serial type='pty'>", f"{socket}<serial type='pty'>", 1)) == (
        "/dev/pts/7"
    )
