"""What a running domain has, from the XML that libvirt describes it with."""

import json
from collections.abc import Iterator

from lxml import etree

_QEMU = "{http://libvirt.org/schemas/domain/qemu/1.0}"


def find_tty(xml: str) -> str | None:
    """Return the pty of the domain's first serial port that has one."""
    source = etree.fromstring(xml.encode()).find("devices/serial[@type='pty']/source")
    return None if source is None else str(source.attrib["path"])


def find_target(xml: str, serial: str) -> str | None:
    """Return libvirt's name (`vdb`) of the disk with this serial; None if it knows of none."""
    for disk in etree.fromstring(xml.encode()).iterfind("devices/disk"):
        target = disk.find("target")
        if target is not None and disk.findtext("serial") == serial:
            return str(target.attrib["dev"])
    return None


def is_encrypted(xml: str, serial: str) -> bool:
    """Say whether the disk with this serial is one that only QEMU's command line tells of."""
    return any(device.get("serial") == serial for device in _objects(xml))


def _objects(xml: str) -> Iterator[dict[str, object]]:
    for argument in etree.fromstring(xml.encode()).iterfind(f"{_QEMU}commandline/{_QEMU}arg"):
        word = argument.get("value", "")
        if word.startswith("{"):
            yield json.loads(word)
