"""The classes of qube, as rows: what each has, in columns."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ..names import ClassName


@dataclass(frozen=True, slots=True, kw_only=True)
class QubeClass:
    """One class (ADMIN-API §5.1).

    `template` names the class that a template of such a qube is of; None: it has no template.
    `runs` tells whether there is a domain to start and stop; the others are always Running.
    `owns_root` tells whether the root volume is the qube's own, kept at stop.
    """

    name: ClassName
    icon: str
    template: ClassName | None = None
    creatable: bool = True
    runs: bool = True
    owns_root: bool = False
    keeps_private: bool = True
    has_notes: bool = True


ADMIN_VM = QubeClass(
    name=ClassName("AdminVM"), icon="adminvm", creatable=False, runs=False, has_notes=False
)
TEMPLATE_VM = QubeClass(name=ClassName("TemplateVM"), icon="templatevm", owns_root=True)
STANDALONE_VM = QubeClass(name=ClassName("StandaloneVM"), icon="standalonevm", owns_root=True)
APP_VM = QubeClass(name=ClassName("AppVM"), icon="appvm", template=TEMPLATE_VM.name)
DISP_VM = QubeClass(
    name=ClassName("DispVM"), icon="dispvm", template=APP_VM.name, keeps_private=False
)
REMOTE_VM = QubeClass(name=ClassName("RemoteVM"), icon="remotevm", runs=False, has_notes=False)

CLASSES: Mapping[ClassName, QubeClass] = MappingProxyType(
    {row.name: row for row in (ADMIN_VM, APP_VM, DISP_VM, REMOTE_VM, STANDALONE_VM, TEMPLATE_VM)}
)
CREATABLE = tuple(row for row in CLASSES.values() if row.creatable)
