"""The XML of a domain says what its spec says, whatever characters are in it."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import ChoiceLoader, DictLoader, PackageLoader, TemplateError
from lxml import etree

from qubeward.hypervisor.domain import SPARE_PORTS, TEMPLATE, domain_xml, environment, target_name
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
KEY = "5ec7e7" * 10
ENCRYPTED = replace(
    PVH,
    disks=(
        *PVH.disks[:2],
        Disk(
            serial="volatile",
            path="/var/lib/qubes/appvms/work/volatile.img",
            format="luks",
            key=KEY,
        ),
        PVH.disks[3],
    ),
)
ON_A_DEVICE = replace(
    HVM,
    disks=(
        *HVM.disks,
        Disk(serial="volatile", path="/dev/qubes/windows-volatile", format="luks", key=KEY),
    ),
)
KEY_FILES = {"volatile": "/run/qubeward/e/5f8e0ad2/keys/tmpabcdefgh"}

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
            format=st.sampled_from(["raw", "qcow2", "luks"]),
            read_only=st.booleans(),
        ),
        max_size=30,
        unique_by=lambda disk: disk.serial,
    ),
    kernel=st.none()
    | st.builds(DirectKernel, vmlinuz=TEXT, initramfs=st.none() | TEXT, options=TEXT),
    console_log=st.none() | TEXT,
)


def key_files(spec: DomainSpec) -> dict[str, str]:
    return {disk.serial: f"/keys/{disk.serial}" for disk in spec.disks if disk.format == "luks"}


def devices(tree: etree._Element) -> Iterator[dict[str, str]]:
    """What the domain's XML puts on QEMU's command line itself."""
    space = "{http://libvirt.org/schemas/domain/qemu/1.0}"
    for argument in tree.iterfind(f"{space}commandline/{space}arg"):
        word = argument.get("value", "")
        if word.startswith("{"):
            yield json.loads(word)


@pytest.mark.parametrize(
    ("golden", "spec", "accel", "machine"),
    [
        ("pvh-tcg", PVH, "tcg", "q35"),
        ("hvm-kvm", HVM, "kvm", "q35"),
        ("encrypted-tcg", ENCRYPTED, "tcg", "q35"),
        ("encrypted-pc-kvm", ON_A_DEVICE, "kvm", "pc"),
    ],
)
def test_the_xml_is_the_golden_one(golden: str, spec: DomainSpec, accel, machine) -> None:
    files = KEY_FILES if spec in (ENCRYPTED, ON_A_DEVICE) else {}
    made = domain_xml(spec, environment(PACKAGED), accel=accel, machine=machine, key_files=files)
    assert made == (FIXTURES / f"{golden}.xml").read_text()


@given(SPECS, st.sampled_from(["kvm", "tcg"]), st.sampled_from(["q35", "pc"]))
def test_values_come_back_from_the_xml_unchanged(spec, accel, machine) -> None:
    text = domain_xml(
        spec, environment(PACKAGED), accel=accel, machine=machine, key_files=key_files(spec)
    )
    tree = etree.fromstring(text.encode())
    plain = [disk for disk in spec.disks if disk.format != "luks"]
    assert tree.findtext("name") == spec.name
    assert tree.findtext("uuid") == str(spec.uuid)
    assert tree.findtext("currentMemory") == str(spec.memory_mib)
    assert int(tree.findtext("memory")) == max(spec.memory_mib, spec.max_memory_mib)
    assert tree.findtext("vcpu") == str(spec.vcpus)
    disks = tree.findall("devices/disk")
    assert [disk.findtext("serial") for disk in disks] == [disk.serial for disk in plain]
    sources = [disk.find("source") for disk in disks]
    assert [source.get("file") or source.get("dev") for source in sources] == [
        disk.path for disk in plain
    ]
    assert [disk.find("driver").get("type") for disk in disks] == [disk.format for disk in plain]
    assert [disk.find("readonly") is not None for disk in disks] == [
        disk.read_only for disk in plain
    ]
    named = list(devices(tree))
    encrypted = [disk for disk in spec.disks if disk.format == "luks"]
    assert [each["serial"] for each in named if "serial" in each] == [d.serial for d in encrypted]
    assert [each["filename"] for each in named if "filename" in each] == [d.path for d in encrypted]
    assert [each["file"] for each in named if "qom-type" in each] == [
        key_files(spec)[disk.serial] for disk in encrypted
    ]
    assert [each["read-only"] for each in named if each.get("driver") == "luks"] == [
        disk.read_only for disk in encrypted
    ]
    log = tree.find("devices/serial/log")
    assert (None if log is None else log.get("file")) == spec.console_log
    if spec.kernel is not None:
        assert tree.findtext("os/kernel") == spec.kernel.vmlinuz
        assert tree.findtext("os/initrd") == spec.kernel.initramfs
        assert tree.findtext("os/cmdline").removesuffix(" no_timer_check") == spec.kernel.options
    assert tree.find("devices/interface") is None


@given(SPECS, st.sampled_from(["q35", "pc"]))
def test_disks_keep_their_order_away_from_where_libvirt_puts_devices(spec, machine) -> None:
    text = domain_xml(
        spec, environment(PACKAGED), accel="tcg", machine=machine, key_files=key_files(spec)
    )
    tree = etree.fromstring(text.encode())
    places: dict[str, tuple[int, int]] = {}
    for disk in tree.iterfind("devices/disk"):
        address = disk.find("address")
        target = disk.find("target")
        places[target.get("dev")] = (int(address.get("bus")), int(address.get("slot")))
    for device in devices(tree):
        if "addr" in device:
            bus = int(device["bus"].removeprefix("pci."))
            target = device["id"].removeprefix("encrypted-").removesuffix("-disk")
            places[target] = (bus, int(device["addr"], 16))
    in_order = [places[target_name(index)] for index in range(len(spec.disks))]
    assert sorted(set(in_order)) == in_order
    if machine == "q35":
        ports = [
            int(port.get("index"))
            for port in tree.iterfind("devices/controller[@model]")
            if port.get("model") == "pcie-root-port"
        ]
        buses = [bus for bus, _ in in_order]
        assert ports == list(range(1, len(buses) + 2 + SPARE_PORTS + 1))
        assert buses == ports[2 + SPARE_PORTS :]
    else:
        slots = [slot for _, slot in in_order]
        assert slots == list(range(32 - len(slots), 32))


def test_no_template_gets_to_see_a_key() -> None:
    packaged = domain_xml(ENCRYPTED, environment(PACKAGED), accel="tcg", key_files=KEY_FILES)
    curious = environment(
        DictLoader(
            {
                TEMPLATE: "{{ spec }} {{ disks }} {{ arguments | join(' ') }}"
                "{% for disk in spec.disks %}{{ disk.key }}{% endfor %}"
                "{% for word in arguments %}{{ word }}{% endfor %}"
            }
        )
    )
    shown = domain_xml(ENCRYPTED, curious, accel="tcg", key_files=KEY_FILES)
    assert KEY not in packaged + shown + repr(ENCRYPTED)


def test_a_template_that_leaves_encrypted_disks_out_is_refused() -> None:
    old = environment(
        DictLoader({TEMPLATE: "{% for each in disks %}{{ each.disk.path }}{% endfor %}"})
    )
    assert domain_xml(PVH, old, accel="tcg")
    with pytest.raises(ValueError, match="qemu:commandline"):
        domain_xml(ENCRYPTED, old, accel="tcg", key_files=KEY_FILES)


@pytest.mark.parametrize(("spec", "files"), [(ENCRYPTED, {}), (PVH, KEY_FILES)])
def test_encryption_and_keys_go_together(spec: DomainSpec, files: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="goes with a key"):
        domain_xml(spec, environment(PACKAGED), accel="tcg", key_files=files)


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
