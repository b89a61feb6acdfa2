"""A domain's XML from its spec: pure text work, through a template that administrators override."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jinja2 import BaseLoader, Environment, StrictUndefined
from markupsafe import Markup, escape

from .driver import Disk, DomainSpec

Accel = Literal["kvm", "tcg"]
Machine = Literal["q35", "pc"]

TEMPLATE = "domain.xml.j2"
SPARE_PORTS = 4

# XML 1.0, production [2]: what no document may hold, escaped or not.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class _PlacedDisk:
    target: str
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
    spec: DomainSpec, templates: Environment, *, accel: Accel, machine: Machine = "q35"
) -> str:
    """Return the domain's XML, from `by-name/<name>.xml.j2` if there is one.

    Raises `ValueError` for a value that XML can't hold, and `jinja2.TemplateError` for a
    template that is wrong.
    """
    template = templates.select_template([f"by-name/{spec.name}.xml.j2", TEMPLATE])
    return template.render(
        spec=spec,
        accel=accel,
        machine=machine,
        disks=_placed(spec.disks),
        memory_mib=max(spec.memory_mib, spec.max_memory_mib),
        # each device takes one port: the disks, the balloon and the random source
        ports=len(spec.disks) + 2 + SPARE_PORTS,
    )


def target_name(index: int) -> str:
    """Return the name of the index-th disk in the guest: vda … vdz, vdaa …"""
    letters = ""
    left = index + 1
    while left:
        left, digit = divmod(left - 1, 26)
        letters = chr(ord("a") + digit) + letters
    return f"vd{letters}"


def _placed(disks: Sequence[Disk]) -> list[_PlacedDisk]:
    return [_PlacedDisk(target_name(index), disk) for index, disk in enumerate(disks)]


def _xml_value(value: object) -> Markup:
    text = str(value)
    if _NOT_XML.search(text):
        raise ValueError("a character that XML can't hold in %a" % text)  # noqa: UP031
    # parsers turn raw line ends and tabs of attributes into spaces
    escaped = str(escape(text))
    for raw, entity in (("\t", "&#9;"), ("\n", "&#10;"), ("\r", "&#13;")):
        escaped = escaped.replace(raw, entity)
    return Markup(escaped)  # noqa: S704  # escaped just above
