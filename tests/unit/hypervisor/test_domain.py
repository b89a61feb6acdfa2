"""The XML of a domain says what its spec says, whatever characters are in it."""

from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import ChoiceLoader, DictLoader, PackageLoader, TemplateError
from lxml import etree

from qubeward.hypervisor.domain import TEMPLATE, domain_xml, environment, target_name
from qubeward.hypervisor.driver import DirectKernel, Disk, DomainSpec

PACKAGED = PackageLoader("qubeward.hypervisor")
FIXTURES = Path(__file__).parent.parent.parent / "fixtures/domains"

PVH = DomainSpec(
    uuid=UUID("5f8e0ad2-7ea1-4f5c-9a83-0c6d1c3f3b0e"),
    name="work",
    memory_mib=400,
    max_memory_mib=4000,
    vcpus=2,
    disks=(
        Disk(serial="root", path="/var/lib/qubes/appvms/work/root.qcow2", format="qcow2"),
        Disk(serial="private", path="/dev/qubes/work-private"),
        Disk(serial="volatile", path="/var/lib/qubes/appvms/work/volatile.img"),
        Disk(serial="kernel", path="/var/lib/qubes/vm-kernels/6.1/modules.img", read_only=True),
    ),
    kernel=DirectKernel(
        vmlinuz="/var/lib/qubes/vm-kernels/6.1/vmlinuz",
        initramfs="/var/lib/qubes/vm-kernels/6.1/initramfs",
        options="root=/dev/vda console=ttyS0",
    ),
    console_log="/var/log/qubeward/console/work.log",
)
HVM = DomainSpec(
    uuid=UUID("0e0e6a5c-5a39-4f0e-8d2b-6a3e3f1b7c11"),
    name="windows",
    memory_mib=2048,
    max_memory_mib=0,
    vcpus=1,
    disks=(Disk(serial="root", path="/var/lib/qubes/appvms/windows/root.img"),),
)

# everything that XML 1.0 can hold
TEXT = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff")
    | st.sampled_from("\t\n\r<>&'\"{}%"),
    min_size=1,
)
SPECS = st.builds(
    DomainSpec,
    uuid=st.uuids(),
    name=TEXT,
    memory_mib=st.integers(1, 1 << 20),
    max_memory_mib=st.integers(0, 1 << 20),
    vcpus=st.integers(1, 64),
    disks=st.lists(
        st.builds(
            Disk,
            serial=TEXT,
            path=TEXT,
            format=st.sampled_from(["raw", "qcow2"]),
            read_only=st.booleans(),
        ),
        max_size=30,
    ),
    kernel=st.none()
    | st.builds(DirectKernel, vmlinuz=TEXT, initramfs=st.none() | TEXT, options=TEXT),
    console_log=st.none() | TEXT,
)


@pytest.mark.parametrize(
    ("golden", "spec", "accel"), [("pvh-tcg", PVH, "tcg"), ("hvm-kvm", HVM, "kvm")]
)
def test_the_xml_is_the_golden_one(golden: str, spec: DomainSpec, accel) -> None:
    made = domain_xml(spec, environment(PACKAGED), accel=accel)
    assert made == (FIXTURES / f"{golden}.xml").read_text()


@given(SPECS, st.sampled_from(["kvm", "tcg"]), st.sampled_from(["q35", "pc"]))
def test_values_come_back_from_the_xml_unchanged(spec, accel, machine) -> None:
    text = domain_xml(spec, environment(PACKAGED), accel=accel, machine=machine)
    tree = etree.fromstring(text.encode())
    assert tree.findtext("name") == spec.name
    assert tree.findtext("uuid") == str(spec.uuid)
    assert tree.findtext("currentMemory") == str(spec.memory_mib)
    assert int(tree.findtext("memory")) == max(spec.memory_mib, spec.max_memory_mib)
    assert tree.findtext("vcpu") == str(spec.vcpus)
    disks = tree.findall("devices/disk")
    assert [disk.findtext("serial") for disk in disks] == [disk.serial for disk in spec.disks]
    sources = [disk.find("source") for disk in disks]
    assert [source.get("file") or source.get("dev") for source in sources] == [
        disk.path for disk in spec.disks
    ]
    assert [disk.find("driver").get("type") for disk in disks] == [
        disk.format for disk in spec.disks
    ]
    assert [disk.find("readonly") is not None for disk in disks] == [
        disk.read_only for disk in spec.disks
    ]
    log = tree.find("devices/serial/log")
    assert (None if log is None else log.get("file")) == spec.console_log
    if spec.kernel is not None:
        assert tree.findtext("os/kernel") == spec.kernel.vmlinuz
        assert tree.findtext("os/initrd") == spec.kernel.initramfs
        assert tree.findtext("os/cmdline").removesuffix(" no_timer_check") == spec.kernel.options
    assert tree.find("devices/interface") is None


@pytest.mark.parametrize("bad", ["\0", "\x0b", "\ud800", "\ufffe"])
def test_what_xml_cant_hold_is_refused(bad: str) -> None:
    spec = DomainSpec(
        uuid=HVM.uuid, name=f"a{bad}", memory_mib=1, max_memory_mib=1, vcpus=1, disks=()
    )
    with pytest.raises(ValueError, match="XML"):
        domain_xml(spec, environment(PACKAGED), accel="tcg")


def test_a_qubes_own_template_goes_before_the_administrators_and_the_packaged() -> None:
    own = {"by-name/work.xml.j2": "one {{ spec.name }}", TEMPLATE: "all {{ spec.name }}"}
    templates = environment(ChoiceLoader([DictLoader(own), PACKAGED]))
    assert domain_xml(PVH, templates, accel="tcg") == "one work"
    assert domain_xml(HVM, templates, accel="tcg") == "all windows"
    del own["by-name/work.xml.j2"], own[TEMPLATE]
    assert "<domain" in domain_xml(PVH, environment(ChoiceLoader([PACKAGED])), accel="tcg")


def test_a_template_that_names_what_is_not_there_is_an_error() -> None:
    templates = environment(DictLoader({TEMPLATE: "{{ spec.nonsense }}"}))
    with pytest.raises(TemplateError):
        domain_xml(PVH, templates, accel="tcg")


def test_targets_go_on_after_vdz() -> None:
    names = [target_name(index) for index in (0, 3, 25, 26, 701, 702)]
    assert names == ["vda", "vdd", "vdz", "vdaa", "vdzz", "vdaaa"]
