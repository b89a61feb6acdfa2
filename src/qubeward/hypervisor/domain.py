"""A domain's XML from its spec: pure text work, through a template that administrators override."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from jinja2 import BaseLoader, Environment, StrictUndefined
from markupsafe import Markup, escape

from .driver import Disk, DomainSpec

Accel = Literal["kvm", "tcg"]
Machine = Literal["q35", "pc"]

TEMPLATE = "domain.xml.j2"
SPARE_PORTS = 4

# The balloon and the random source, and what an administrator's template or a hotplug adds: libvirt
# gives them the first addresses that it believes free. The disks have the last ones, of which it
# knows only some: encrypted disks are on QEMU's command line.
_OTHER_PORTS = 2 + SPARE_PORTS
_SLOTS_OF_PC = 32

# XML 1.0, production [2]: what no document may hold, escaped or not.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class _PlacedDisk:
    target: str
    bus: int
    slot: int
    disk: Disk

    @property
    def is_block_device(self) -> bool:
        path = self.disk.path
        return path.startswith("/dev/") and not path.startswith("/dev/shm/")  # noqa: S108


def environment(loader: BaseLoader) -> Environment:
    """Return the templates' surroundings: values are escaped, unknown ones are errors."""
    return Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_xml_value,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def domain_xml(
    spec: DomainSpec,
    templates: Environment,
    *,
    accel: Accel,
    machine: Machine = "q35",
    key_files: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Return the domain's XML, from `by-name/<name>.xml.j2` if there is one.

    `key_files` are the paths, by serial, of the files with the encrypted disks' keys; the keys
    themselves no template gets to see. Raises `ValueError` for a value that XML can't hold and for
    a template that leaves encrypted disks out, `jinja2.TemplateError` for one that is wrong.
    """
    template = templates.select_template([f"by-name/{spec.name}.xml.j2", TEMPLATE])
    disks = [replace(disk, key=None) for disk in spec.disks]
    if any((disk.format == "luks") != (disk.serial in key_files) for disk in disks):
        raise ValueError("the format luks goes with a key, and no other does")
    placed = _placed(disks, machine)
    arguments = [
        argument
        for each in placed
        if each.disk.format == "luks"
        for argument in _arguments(each, key_files[each.disk.serial])
    ]
    xml = template.render(
        spec=replace(spec, disks=disks),
        accel=accel,
        machine=machine,
        disks=[each for each in placed if each.disk.format != "luks"],
        arguments=arguments,
        memory_mib=max(spec.memory_mib, spec.max_memory_mib),
        ports=_OTHER_PORTS + len(disks),  # each device takes one
    )
    if not all(_xml_value(argument) in xml for argument in arguments):
        raise ValueError("it has no <qemu:commandline> with the arguments of encrypted disks")
    return xml


def target_name(index: int) -> str:
    """Return the name of the index-th disk in the guest: vda … vdz, vdaa …"""
    letters = ""
    left = index + 1
    while left:
        left, digit = divmod(left - 1, 26)
        letters = chr(ord("a") + digit) + letters
    return f"vd{letters}"


def _placed(disks: Sequence[Disk], machine: Machine) -> list[_PlacedDisk]:
    """Give each disk its address: guests name disks in the order of these."""
    if machine == "q35":
        addresses = [(1 + _OTHER_PORTS + index, 0) for index in range(len(disks))]
    else:
        addresses = [(0, _SLOTS_OF_PC - len(disks) + index) for index in range(len(disks))]
    return [
        _PlacedDisk(target_name(index), *address, disk)
        for index, (address, disk) in enumerate(zip(addresses, disks, strict=True))
    ]


def _arguments(placed: _PlacedDisk, key_file: str) -> Iterator[str]:
    """List the words of QEMU's command line for an encrypted disk.

    But for its key, they say what libvirt says for the template's other disks.
    """
    disk, name = placed.disk, f"encrypted-{placed.target}"
    cache = {"direct": False, "no-flush": False}
    yield "-object"
    yield json.dumps({"qom-type": "secret", "id": f"{name}-key", "file": key_file})
    yield "-blockdev"
    yield json.dumps(
        {
            "driver": "host_device" if placed.is_block_device else "file",
            "filename": disk.path,
            "aio": "threads",
            "node-name": f"{name}-storage",
            "cache": cache,
            "auto-read-only": True,
            "discard": "unmap",
        }
    )
    yield "-blockdev"
    yield json.dumps(
        {
            "node-name": f"{name}-format",
            "read-only": disk.read_only,
            "discard": "unmap",
            "cache": cache,
            "driver": "luks",
            "key-secret": f"{name}-key",
            "file": f"{name}-storage",
        }
    )
    yield "-device"
    yield json.dumps(
        {
            "driver": "virtio-blk-pci",
            "bus": f"pci.{placed.bus}",
            "addr": hex(placed.slot),
            "drive": f"{name}-format",
            "id": f"{name}-disk",
            "write-cache": "on",
            "serial": disk.serial,
            "werror": "enospc",
            "rerror": "report",
        }
    )


def _xml_value(value: object) -> Markup:
    text = str(value)
    if _NOT_XML.search(text):
        raise ValueError("a character that XML can't hold in %a" % text)  # noqa: UP031
    # parsers turn raw line ends and tabs of attributes into spaces
    escaped = str(escape(text))
    for raw, entity in (("\t", "&#9;"), ("\n", "&#10;"), ("\r", "&#13;")):
        escaped = escaped.replace(raw, entity)
    return Markup(escaped)  # noqa: S704  # escaped just above
