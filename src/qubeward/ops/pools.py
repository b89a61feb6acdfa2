"""The storage driver of each pool, opened from what the model says."""

import logging
from collections.abc import Mapping
from pathlib import Path

from ..errors import AdminError, PoolNotFoundError, StorageError
from ..model.pool import KERNELS, Pool
from ..model.qube import Qube
from ..model.system import System
from ..model.volume import KERNEL, Volume
from ..names import PoolName, PropertyName
from ..storage import kernels
from ..storage.driver import BlockImage, Driver, VolumeSpec
from ..storage.drivers import open_driver

log = logging.getLogger(__name__)


class Pools:
    """Drivers by pool. A pool that can't be made ready is kept out, with its reason."""

    def __init__(self, system: System, root: Path, settings: Mapping[str, str]) -> None:
        self._system = system
        self._root = root
        self._settings = settings
        self._drivers: dict[PoolName, Driver] = {}
        self._broken: dict[PoolName, str] = {}

    def _host_path(self, path: str) -> Path:
        return self._root / path.lstrip("/")

    async def open_all(self) -> None:
        """Make every pool ready. One that can't be doesn't keep the others from it."""
        for pool in self._system.pools.values():
            try:
                await self.open(pool)
            except AdminError as error:
                self._broken[pool.name] = str(error)
                log.error("pool %s is unusable: %s", pool.name, error)  # noqa: TRY400  # no bug

    async def open(self, pool: Pool) -> None:
        """Make one pool ready."""
        options = dict(pool.options)
        if "dir_path" in options:
            options["dir_path"] = str(self._host_path(options["dir_path"]))
        driver = open_driver(pool.driver, options, self._settings)
        await driver.setup()
        self._drivers[pool.name] = driver

    def driver(self, name: PoolName) -> Driver:
        """Return a pool's driver, or raise what keeps it from being used."""
        if name in self._drivers:
            return self._drivers[name]
        if name in self._broken:
            raise StorageError(f"pool {name}", self._broken[name])
        raise PoolNotFoundError(name)

    def kernels_dir(self) -> Path | None:
        """Return the host's directory of kernels, or None without such a pool."""
        chosen = self._system.value(None, PropertyName("default_pool_kernel"))
        for name in (chosen, KERNELS):
            pool = self._system.pools.get(PoolName(str(name)))
            if pool is not None and pool.driver == "linux-kernel":
                return self._host_path(pool.options["dir_path"])
        return None

    def has_kernel(self, version: str) -> bool:
        """Tell whether a qube can boot this kernel."""
        directory = self.kernels_dir()
        return directory is not None and kernels.has_vmlinuz(directory, version)

    def kernel(self, qube: Qube) -> kernels.Kernel | None:
        """Return the kernel that a qube boots, or None: it boots its own."""
        version = self._system.value(qube, PropertyName("kernel"))
        if not version or self._system.value(qube, PropertyName("virt_mode")) == "hvm":
            return None
        directory = self.kernels_dir()
        found = kernels.find_kernel(directory, str(version)) if directory else None
        if found is None:
            raise StorageError(f"kernel {version}", "no such kernel")
        return found

    def spec(self, volume: Volume) -> VolumeSpec:
        """Return what the driver must know of a volume."""
        return VolumeSpec(
            vid=volume.vid,
            size_bytes=volume.size_bytes,
            rw=volume.rw,
            source=volume.source,
            save_on_stop=volume.save_on_stop,
            snap_on_start=volume.snap_on_start,
            revisions_to_keep=volume.revisions_to_keep,
            ephemeral=volume.ephemeral,
        )

    async def create(self, qube: Qube) -> None:
        """Make all volumes of a new qube."""
        for volume in qube.volumes.values():
            await self.driver(volume.pool).create(self.spec(volume))

    async def remove(self, volumes: Mapping[str, str]) -> None:
        """Remove volumes, given as vid to pool."""
        for vid, pool in volumes.items():
            await self.driver(PoolName(pool)).remove(vid)

    async def start(self, qube: Qube) -> dict[str, BlockImage]:
        """Make all volumes of a qube usable by its guest; return them by name, in disk order."""
        images: dict[str, BlockImage] = {}
        for name, volume in qube.volumes.items():
            images[name] = await self.driver(volume.pool).start(self.spec(volume))
        kernel = self.kernel(qube)
        if kernel is not None and kernel.modules is not None:
            images[KERNEL] = BlockImage(path=kernel.modules, read_only=True)
        return images

    async def stop(self, qube: Qube) -> None:
        """End the guest's use of all volumes of a qube: commit what is saved, drop the rest."""
        for volume in qube.volumes.values():
            await self.driver(volume.pool).stop(self.spec(volume))
