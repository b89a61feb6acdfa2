"""Add a storage pool, or leave nothing of it; remove one that keeps nothing; set its options."""

from uuid import uuid4

from ..errors import ForbiddenError, PoolInUseError, StorageError
from ..model.change import Change
from ..model.pool import EPHEMERAL_VOLATILE, REVISIONS_TO_KEEP, Pool
from ..model.system_properties import SYSTEM
from ..names import PoolName, QubeName
from ..spec.pool import NewPool
from ..storage.drivers import DRIVERS, check_options, check_revisions
from .steps import Plan, Step, run
from .world import World

_DIRECTORY = "dir_path"


def find(world: World, name: PoolName) -> Pool:
    """Return a pool, or raise what R4 does: `ForbiddenError`."""
    pool = world.system.pools.get(name)
    if pool is None:
        raise ForbiddenError(f"pool {name}")
    return pool


async def add(world: World, source: QubeName, driver: str, new: NewPool) -> None:
    """Add a pool: its place is made, or checked, before it is one."""
    row = DRIVERS.get(driver)
    if row is None or row.for_tests:
        raise ForbiddenError(f"driver {driver}")
    options = dict(new.options)
    check_options(driver, options)
    if new.name in world.system.pools or new.name in world.new_pools:
        raise PoolInUseError(new.name, "there is one of this name")
    _check_apart(world, driver, options)
    pool = Pool(new.name, driver, options)

    async def make() -> None:
        await world.pools.open(pool, new=True)

    async def unmake() -> None:
        await world.pools.forget(pool)

    def land(change: Change) -> None:
        change.source = source
        change.add_pool(pool)

    about: dict[str, object] = {"name": pool.name, "driver": driver, "options": options}
    world.new_pools.add(new.name)
    try:
        await run(Plan("pool-add", about, (Step("place", make, unmake),), land), world.journal)
    finally:
        world.new_pools.discard(new.name)


def _check_apart(world: World, driver: str, options: dict[str, str]) -> None:
    """Raise if another pool keeps its volumes in the very same directory."""
    if _DIRECTORY not in options or DRIVERS[driver].capabilities.read_only:
        return
    here = world.pools.host_path(options[_DIRECTORY])
    for other in world.system.pools.values():
        there = other.options.get(_DIRECTORY)
        if there is not None and world.pools.host_path(there) == here:
            raise StorageError(
                f"pool directory {options[_DIRECTORY]}", f"it is that of the pool {other.name}"
            )


def _check_unused(world: World, name: PoolName) -> None:
    for prop in SYSTEM:
        if prop.startswith("default_pool") and world.system.value(None, prop) == name:
            raise PoolInUseError(name, f"it is {prop}")
    for qube in world.system.qubes.values():
        for volume in qube.volumes.values():
            if volume.pool == name:
                raise PoolInUseError(name, f"it keeps volume {volume.name} of {qube.name}")
    if world.busy_pools[name]:
        raise PoolInUseError(name, "volumes are being made in it")


async def remove(world: World, source: QubeName, name: PoolName) -> None:
    """Remove a pool. It goes first; what its driver made for it, and is empty, goes after."""
    pool = find(world, name)
    _check_unused(world, name)
    entry = str(uuid4())
    with world.system.change(source) as change:
        change.remove_pool(pool)
        about = {"name": name, "driver": pool.driver, "options": dict(pool.options)}
        change.write("journal", (entry,), ("pool-remove", about))
    world.new_pools.add(name)  # until its place is cleared, nobody may make another there
    try:
        await world.journal.stored()
        await world.pools.forget(pool)
        await world.journal.close(entry)
    finally:
        world.new_pools.discard(name)


def set_revisions_to_keep(world: World, source: QubeName, name: PoolName, number: int) -> None:
    """Say how many snapshots new volumes keep."""
    pool = find(world, name)
    _check_has(pool, REVISIONS_TO_KEEP)
    check_revisions(world.pools.capabilities(pool), number)
    with world.system.change(source) as change:
        change.set_pool(pool.with_option(REVISIONS_TO_KEEP, str(number)))


def set_ephemeral_volatile(world: World, source: QubeName, name: PoolName, value: bool) -> None:
    """Say whether volatile volumes are encrypted."""
    pool = find(world, name)
    _check_has(pool, EPHEMERAL_VOLATILE)
    with world.system.change(source) as change:
        change.set_pool(pool.with_option(EPHEMERAL_VOLATILE, str(value)))


def _check_has(pool: Pool, option: str) -> None:
    if option not in {known.name for known in DRIVERS[pool.driver].options}:
        raise StorageError(f"pool {pool.name}", f"its driver has no {option}")


def properties(world: World, pool: Pool) -> dict[str, str]:
    """Return what is configured of a pool, as the wire has it."""
    row = DRIVERS.get(pool.driver)
    known = {option.name for option in row.options} if row is not None else set()
    always = {REVISIONS_TO_KEEP, EPHEMERAL_VOLATILE} & known
    shown = {key: value for key, value in pool.options.items() if key not in _NOT_SHOWN}
    shown |= {key: pool.option(key) for key in always}
    if EPHEMERAL_VOLATILE in shown:
        shown[EPHEMERAL_VOLATILE] = str(pool.ephemeral_volatile)
    return dict(sorted({"name": pool.name, "driver": pool.driver, **shown}.items()))


_NOT_SHOWN = frozenset({"setup_check"})


async def recover_add(world: World, about: dict[str, object]) -> None:
    """Undo an addition that a crash cut off, unless it had landed."""
    name = PoolName(str(about["name"]))
    if name not in world.system.pools:
        await _teardown(world, about)


async def recover_remove(world: World, about: dict[str, object]) -> None:
    """Finish a removal that a crash cut off."""
    if PoolName(str(about["name"])) not in world.system.pools:
        await _teardown(world, about)


async def _teardown(world: World, about: dict[str, object]) -> None:
    options = about["options"]
    assert isinstance(options, dict)  # noqa: S101  # `add` and `remove` wrote it
    pool = Pool(PoolName(str(about["name"])), str(about["driver"]), options)
    await world.pools.forget(pool)
