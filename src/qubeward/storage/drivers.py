"""The table of storage drivers, and the choice among them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from ..errors import BadValueError, MissingOptionError, ProtocolError, StorageError
from ..host import files
from . import callback, file, kernels, lvm, memory, qcow2, reflink, zfs
from .callback_configuration import CONFIGURATION_FILE, load_configuration, parse_conf_id
from .driver import Capabilities, Driver, DriverFactory
from .failures import naming
from .lvm_names import parse_thin_pool, parse_volume_group
from .options import (
    parse_boolean,
    parse_directory,
    parse_mib,
    parse_percent,
    parse_revisions,
)
from .zfs_names import parse_container


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option of a pool. `parse` raises `BadValueError`."""

    name: str
    parse: Callable[[str], object]
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverRow:
    """One driver. `options` come from who adds the pool, `settings` from the daemon's `[storage]`.

    `capabilities` are those of the driver at its best; a pool's own are in its `Driver`. What is
    `for_tests` loses everything with the process, and is offered to no one.
    """

    name: str
    options: tuple[Option, ...]
    factory: DriverFactory
    capabilities: Capabilities
    settings: tuple[Option, ...] = ()
    for_tests: bool = False


_DIRECTORY: Final = Option(name="dir_path", parse=parse_directory, required=True)
_REVISIONS: Final = Option(name="revisions_to_keep", parse=parse_revisions)
_EPHEMERAL: Final = Option(name="ephemeral_volatile", parse=parse_boolean)
#: What this project's pools have beyond R4's: when to warn of a full pool, and when to refuse.
_SPACE: Final = (
    Option(name="warn_percent", parse=parse_percent),
    Option(name="floor_mib", parse=parse_mib),
)


def _of_volumes(*own: Option, last: tuple[Option, ...] = ()) -> tuple[Option, ...]:
    """Return the options of a driver that keeps volumes, in the order of R4."""
    return (_REVISIONS, *own, _EPHEMERAL, *last, *_SPACE)


_FALLBACK: Final = Option(name="reflink_fallback", parse=parse_boolean)


def _open_callback(options: Mapping[str, str]) -> Driver:
    """Make the `callback` driver, and the one behind it: reads the file that says which. Blocks."""
    root = Path(options["root"])
    offered = [row.name for row in DRIVERS.values() if not row.for_tests]
    path = root / CONFIGURATION_FILE
    configuration = load_configuration(path, options["conf_id"], drivers=offered)
    behind = dict(configuration.options)
    check_options(configuration.driver, behind)
    if _DIRECTORY.name in behind:
        behind[_DIRECTORY.name] = str(root / behind[_DIRECTORY.name].lstrip("/"))
    return callback.CallbackDriver(
        lambda: open_driver(configuration.driver, behind, options), configuration
    )


_ROWS: Final = (
    DriverRow(
        name="callback",
        options=(Option(name="conf_id", parse=parse_conf_id, required=True),),
        settings=(Option(name="root", parse=parse_directory), _FALLBACK),
        factory=_open_callback,
        capabilities=callback.CAPABILITIES,
    ),
    DriverRow(
        name="file",
        options=_of_volumes(_DIRECTORY),
        factory=file.open_file,
        capabilities=file.CAPABILITIES,
    ),
    DriverRow(
        name="file-reflink",
        options=_of_volumes(_DIRECTORY, Option(name="setup_check", parse=parse_boolean)),
        settings=(_FALLBACK,),
        factory=reflink.open_reflink,
        capabilities=reflink.CAPABILITIES,
    ),
    DriverRow(
        name="linux-kernel",
        options=(_DIRECTORY,),
        factory=kernels.open_kernels,
        capabilities=kernels.CAPABILITIES,
    ),
    DriverRow(
        name="lvm_thin",
        options=_of_volumes(
            Option(name="volume_group", parse=parse_volume_group, required=True),
            Option(name="thin_pool", parse=parse_thin_pool, required=True),
        ),
        factory=lvm.open_lvm,
        capabilities=lvm.CAPABILITIES,
    ),
    DriverRow(
        name="qcow2",
        options=_of_volumes(_DIRECTORY),
        factory=qcow2.open_qcow2,
        capabilities=qcow2.CAPABILITIES,
    ),
    DriverRow(
        name="zfs",
        options=_of_volumes(
            Option(name="container", parse=parse_container, required=True),
            last=(Option(name="snap_on_start_forensics", parse=parse_boolean),),
        ),
        factory=zfs.open_zfs,
        capabilities=zfs.CAPABILITIES,
    ),
    DriverRow(
        name="memory",
        options=_of_volumes(),
        factory=memory.open_memory,
        capabilities=memory.CAPABILITIES,
        for_tests=True,
    ),
)

DRIVERS: Final[Mapping[str, DriverRow]] = {row.name: row for row in _ROWS}


def check_options(name: str, options: Mapping[str, str]) -> None:
    """Raise what keeps a pool of this driver from having these options; see `open_driver`."""
    row = DRIVERS.get(name)
    if row is None:
        raise StorageError(f"driver {name!r}", "there is no such driver")
    known = {option.name: option for option in row.options}
    for key, value in options.items():
        if key not in known:
            raise ProtocolError(f"option of driver {name}", key)
        known[key].parse(value)
    for option in row.options:
        if option.required and option.name not in options:
            raise MissingOptionError(name, option.name)
    check_revisions(row.capabilities, int(options.get(_REVISIONS.name, "0")))


def open_driver(
    name: str, options: Mapping[str, str], settings: Mapping[str, str] | None = None
) -> Driver:
    """Make a pool's driver; nothing is touched before its `setup`. Blocks, where that reads a file.

    `dir_path` is a path of the host. `settings` are all of the daemon's `[storage]`; a driver is
    given those its row names. Raises `ProtocolError` for an unknown option, `MissingOptionError`
    for a missing one, `BadValueError` for a value that it doesn't take, and `StorageError` for an
    unknown driver.
    """
    check_options(name, options)
    row = DRIVERS[name]
    wanted = {option.name for option in row.settings}
    given = {key: value for key, value in (settings or {}).items() if key in wanted}
    return row.factory({**options, **given})


def check_revisions(capabilities: Capabilities, number: int) -> None:
    """Raise `BadValueError` if a volume can't keep so many revisions."""
    most = capabilities.most_revisions
    if most is not None and number > most:
        raise BadValueError("revisions_to_keep", f"this driver keeps up to {most}")


def default_driver(
    dir_path: Path,
    setting: Literal["auto", "file-reflink", "qcow2", "file"],
    reflink_fallback: bool,
) -> str:
    """Choose the driver of the default pool, which need not be there yet. Blocks.

    `auto` takes `file-reflink` where FICLONE works, else `qcow2`. An explicit `file-reflink` raises
    `StorageError` where it does not work, unless the fallback is allowed.
    """
    if setting in ("file", "qcow2"):
        return setting
    existing = next(path for path in (dir_path, *dir_path.parents) if path.is_dir())
    with naming(f"pool directory {dir_path}"):
        if setting == "file-reflink":
            reflink.probe_reflink(existing, fallback=reflink_fallback)
            return setting
        return "file-reflink" if files.can_reflink(existing) else "qcow2"
