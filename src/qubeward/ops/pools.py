"""The storage driver of each pool, opened from what the model says."""

import asyncio
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from ..errors import AdminError, PoolNotFoundError, StorageError
from ..model.pool import KERNELS, VARLIBQUBES, Pool
from ..model.qube import Qube
from ..model.system import System
from ..model.volume import KERNEL, Volume
from ..names import PoolName, PropertyName, QubeName, VolumeName
from ..storage import kernels
from ..storage.driver import BlockImage, Capabilities, Driver, VolumeSpec
from ..storage.drivers import DRIVERS, open_driver

log = logging.getLogger(__name__)

_DIRECTORY = "dir_path"


def reason_of(error: AdminError) -> str:
    """Return what an error says of a pool, without the word for errors of storage."""
    return ": ".join(error.fields) if isinstance(error, StorageError) else str(error)


class Pools:
    """Drivers by pool. A pool that can't be opened is kept out, with its reason and its qubes."""

    def __init__(self, system: System, root: Path, settings: Mapping[str, str]) -> None:
        self._system = system
        self._root = root
        self._settings = {**settings, "root": str(root)}
        self._drivers: dict[PoolName, Driver] = {}
        self._broken: dict[PoolName, str] = {}
        self._failing: dict[PoolName, str] = {}
        self._places: dict[PoolName, str] = {}

    def host_path(self, path: str) -> Path:
        """Return the path of the host that a path of the wire is."""
        return self._root / path.lstrip("/")

    # Opening and closing.

    async def open_all(self, *, new: bool = False) -> None:
        """Open every pool, or set it up if it is new. One that fails keeps none of the others.

        The first pools of a system are set up again while nothing is kept in them: a crash may
        have come between their entries and their directories.
        """
        used = {v.pool for qube in self._system.qubes.values() for v in qube.volumes.values()}
        for pool in tuple(self._system.pools.values()):
            is_first = pool.name in (VARLIBQUBES, KERNELS)
            try:
                await self.open(pool, new=new or (is_first and pool.name not in used))
            except AdminError as error:
                self._broken[pool.name] = reason_of(error)
                log.error("pool %s is unusable: %s", pool.name, error)  # noqa: TRY400  # no bug
        self.note_trouble()

    async def open(self, pool: Pool, *, new: bool) -> None:
        """Open one pool, or set it up."""
        driver = await self._make(pool)
        try:
            await self._take_place(pool, driver)
            await (driver.setup() if new else driver.open())
        except BaseException:
            self._places.pop(pool.name, None)
            await driver.close()
            raise
        self._drivers[pool.name] = driver
        self._broken.pop(pool.name, None)
        self._failing.pop(pool.name, None)

    async def _take_place(self, pool: Pool, driver: Driver) -> None:
        """Raise `StorageError` if another pool has the same directory, whatever it is called."""
        if driver.place is None:
            return
        real = await asyncio.to_thread(os.path.realpath, driver.place)
        for name, other in self._places.items():
            if other == real and name != pool.name:
                why = f"it is that of the pool {name}"
                raise StorageError(f"pool directory {driver.place}", why)
        self._places[pool.name] = real

    async def _make(self, pool: Pool) -> Driver:
        options = dict(pool.options)
        if _DIRECTORY in options:
            options[_DIRECTORY] = str(self.host_path(options[_DIRECTORY]))
        return await asyncio.to_thread(open_driver, pool.driver, options, self._settings)

    async def open_again(self, name: PoolName) -> bool:
        """Try a pool once more that could not be opened; return whether it can be used now."""
        try:
            await self.open(self._system.pools[name], new=False)
        except AdminError as error:
            self._broken[name] = reason_of(error)
            return False
        self.note_trouble()
        return True

    async def forget(self, pool: Pool) -> None:
        """Close a pool's driver, and let it clear up what it made for the pool."""
        self._broken.pop(pool.name, None)
        self._failing.pop(pool.name, None)
        driver = self._drivers.pop(pool.name, None)
        try:
            if driver is None:
                driver = await self._make(pool)
                await self._take_place(pool, driver)  # it may be another pool's
        except AdminError as error:
            log.warning("nothing of pool %s is cleared: %s", pool.name, error)
        else:
            await driver.teardown()
        finally:
            self._places.pop(pool.name, None)
            if driver is not None:
                await driver.close()

    def note_failing(self, name: PoolName, reason: str) -> bool:
        """Note why an open pool fails now, or "" that it does not; return whether that is news."""
        before = self._failing.get(name, "")
        if reason:
            self._failing[name] = reason
        else:
            self._failing.pop(name, None)
        self.note_trouble()
        return bool(reason) != bool(before)

    def note_trouble(self) -> None:
        """Mark the qubes whose volumes can't be used now."""
        for qube in self._system.qubes.values():
            used = {volume.pool for volume in qube.volumes.values()}
            qube.trouble = next((self.trouble(name) for name in used if self.trouble(name)), "")

    def trouble(self, name: PoolName) -> str:
        """Return why a pool can't be used, or the empty string."""
        if name in self._drivers:
            why = self._failing.get(name, "")
        else:
            why = self._broken.get(name, "there is no such pool")
        if not why:
            return ""
        return f"pool {name} can't be used: {why}"

    @property
    def broken(self) -> tuple[PoolName, ...]:
        """Return the pools that can't be used."""
        return tuple(self._broken)

    @property
    def usable(self) -> tuple[PoolName, ...]:
        """Return the pools that can be used."""
        return tuple(self._drivers)

    def driver(self, name: PoolName) -> Driver:
        """Return a pool's driver, or raise what keeps it from being used."""
        if name in self._drivers:
            return self._drivers[name]
        if name in self._broken:
            raise StorageError(f"pool {name}", self._broken[name])
        raise PoolNotFoundError(name)

    def capabilities(self, pool: Pool) -> Capabilities:
        """Return what a pool can do; of one that isn't open, what its driver can do at its best."""
        driver = self._drivers.get(pool.name)
        return DRIVERS[pool.driver].capabilities if driver is None else driver.capabilities

    def surrounding(self, pool: Pool) -> PoolName | None:
        """Return the pool in whose directory this one's is, the innermost of them."""
        if _DIRECTORY not in pool.options:
            return None
        here = PurePosixPath(pool.options[_DIRECTORY])
        others = {
            PurePosixPath(other.options[_DIRECTORY]): other.name
            for other in self._system.pools.values()
            if other is not pool and _DIRECTORY in other.options
        }
        return next((others[above] for above in here.parents if above in others), None)

    # Kernels.

    def kernels_dir(self) -> Path | None:
        """Return the host's directory of kernels, or None without such a pool."""
        pool = self._kernel_pool()
        return None if pool is None else self.host_path(pool.options[_DIRECTORY])

    @property
    def kernel_pool(self) -> PoolName | None:
        """Return the pool that kernels come from."""
        pool = self._kernel_pool()
        return None if pool is None else pool.name

    def _kernel_pool(self) -> Pool | None:
        chosen = self._system.value(None, PropertyName("default_pool_kernel"))
        for name in (chosen, KERNELS):
            pool = self._system.pools.get(PoolName(str(name)))
            if pool is not None and pool.driver == "linux-kernel":
                return pool
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

    # Volumes.

    def volumes(self, qube: Qube) -> Mapping[VolumeName, Volume]:
        """Return a qube's volumes in the order of its disks, with the view of its kernel's."""
        if not qube.klass.runs:
            return qube.volumes
        pool = self._kernel_pool()
        kernel = Volume(
            name=KERNEL,
            pool=KERNELS if pool is None else pool.name,
            vid=str(self._system.value(qube, PropertyName("kernel")) or ""),
            size_bytes=0,
            rw=False,
            revisions_to_keep=0,
        )
        return {**qube.volumes, KERNEL: kernel}

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
            ephemeral=self.is_ephemeral(volume),
        )

    def is_ephemeral(self, volume: Volume) -> bool:
        """Tell whether a volume is encrypted with a key that nobody keeps."""
        if not volume.is_volatile or not volume.rw:
            return False
        if volume.ephemeral is not None:
            return volume.ephemeral
        pool = self._system.pools.get(volume.pool)
        return pool is not None and pool.ephemeral_volatile

    async def create(self, volumes: Iterable[Volume]) -> None:
        """Make all volumes of a new qube."""
        for volume in volumes:
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

    async def tidy(self, qube: Qube) -> None:
        """Do what the stop of a qube's volumes left for later."""
        for volume in tuple(qube.volumes.values()):
            if volume.save_on_stop:
                await self.driver(volume.pool).tidy(self.spec(volume))

    def owner(self, pool: PoolName, vid: str) -> tuple[QubeName, Volume] | None:
        """Return the qube and volume that a vid of a pool is, or None."""
        for qube in self._system.qubes.values():
            for volume in qube.volumes.values():
                if volume.vid == vid and volume.pool == pool:
                    return qube.name, volume
        return None
