"""The table of storage drivers, and the choice among them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from ..errors import ProtocolError, StorageError
from ..host import files
from . import file, kernels, memory, reflink
from .driver import Capabilities, Driver, DriverFactory
from .failures import naming
from .options import parse_boolean, parse_directory, parse_revisions


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
_OF_VOLUMES: Final = (
    Option(name="revisions_to_keep", parse=parse_revisions),
    Option(name="ephemeral_volatile", parse=parse_boolean),
)

_ROWS: Final = (
    DriverRow(
        name="file",
        options=(_DIRECTORY, *_OF_VOLUMES),
        factory=file.open_file,
        capabilities=file.CAPABILITIES,
    ),
    DriverRow(
        name="file-reflink",
        options=(_DIRECTORY, Option(name="setup_check", parse=parse_boolean), *_OF_VOLUMES),
        settings=(Option(name="reflink_fallback", parse=parse_boolean),),
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
        name="memory",
        options=_OF_VOLUMES,
        factory=memory.open_memory,
        capabilities=memory.CAPABILITIES,
        for_tests=True,
    ),
)

DRIVERS: Final[Mapping[str, DriverRow]] = {row.name: row for row in _ROWS}


def open_driver(
    name: str, options: Mapping[str, str], settings: Mapping[str, str] | None = None
) -> Driver:
    """Make a pool's driver; nothing is touched before its `setup`.

    `dir_path` is a path of the host. `settings` are all of the daemon's `[storage]`; a driver is
    given those its row names. Raises `ProtocolError` for an unknown option, `StorageError` for an
    unknown driver or a missing option, `BadValueError` for a value out of its grammar.
    """
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
            raise StorageError(f"driver {name}", f"the option {option.name} is missing")
    wanted = {option.name for option in row.settings}
    given = {key: value for key, value in (settings or {}).items() if key in wanted}
    return row.factory({**options, **given})


def default_driver(
    dir_path: Path, setting: Literal["auto", "file-reflink", "file"], reflink_fallback: bool
) -> str:
    """Choose the driver of the default pool, which need not be there yet. Blocks.

    `auto` takes `file-reflink` where FICLONE works, else `file`. An explicit `file-reflink` raises
    `StorageError` where it does not work, unless the fallback is allowed.
    """
    if setting == "file":
        return setting
    existing = next(path for path in (dir_path, *dir_path.parents) if path.is_dir())
    with naming(f"pool directory {dir_path}"):
        if setting == "file-reflink":
            reflink.probe_reflink(existing, fallback=reflink_fallback)
            return setting
        return "file-reflink" if files.can_reflink(existing) else "file"
