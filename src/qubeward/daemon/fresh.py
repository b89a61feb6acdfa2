"""What a fresh system has: dom0, the first pools, and the newest kernel there is."""

from pathlib import Path

from ..model.pool import KERNELS, VARLIBQUBES, Pool
from ..model.qube import Qube
from ..model.system import System
from ..names import ADMIN, ADMIN_UUID, PropertyName
from ..spec.classes import ADMIN_VM
from ..storage.drivers import default_driver
from ..storage.kernels import has_vmlinuz, load_kernel_versions
from .config import Config

DATA = "/var/lib/qubes"
KERNELS_DIR = f"{DATA}/vm-kernels"


def choose_driver(root: Path, config: Config) -> str:
    """Return the driver for the first pool. Blocks: it tries what the file system can do."""
    directory = root / DATA.lstrip("/")
    return default_driver(
        directory, config["storage.default_driver"], config["storage.reflink_fallback"]
    )


def set_up(system: System, root: Path, driver: str) -> None:
    """Fill an empty system, in one change."""
    admin = Qube(ADMIN_UUID, ADMIN, 0, ADMIN_VM)
    admin.properties[PropertyName("label")] = "black"
    with system.change() as change:
        for label in tuple(system.labels.values()):
            change.add_label(label)
        change.add_pool(Pool(VARLIBQUBES, driver, {"dir_path": DATA, "revisions_to_keep": "1"}))
        change.add_pool(Pool(KERNELS, "linux-kernel", {"dir_path": KERNELS_DIR}))
        system.admit(admin)
        change.write("qube", (admin.uuid,), (admin.name, admin.klass.name, admin.qid))
        change.write("property", (admin.uuid, "label"), ("black",))
        change.set_property(None, PropertyName("default_pool_kernel"), KERNELS)
        kernels = root / KERNELS_DIR.lstrip("/")
        bootable = [v for v in load_kernel_versions(kernels) if has_vmlinuz(kernels, v)]
        if bootable:
            change.set_property(None, PropertyName("default_kernel"), bootable[-1])
