"""Which hooks run around another driver, and which driver: `/etc/qubes_callback.json`.

The file is R4's: an object of `conf_id`s, each an object of

| key                        | what                                                               |
|----------------------------|--------------------------------------------------------------------|
| `bdriver`                  | the driver behind the hooks; required                              |
| `bdriver_args`             | its options, by name                                               |
| `cmd`                      | the command of every hook that has none of its own                 |
| `pre_WORD`, `post_WORD`    | a hook's command; `-`: none, though there is `cmd`                 |
| `signal_back`              | true: hooks may ask for a new setup of the driver behind           |
| `timeout_s`                | seconds that a hook may take; ours, not R4's                       |
| `description`              | for people                                                         |

Unlike R4's, a command is no shell's text: it is split into words as a shell would, the first is the
program's absolute path, and nothing is added to them. Hooks run with the daemon's rights, so that
whoever may write to the file has them: it must be its owner's alone.
"""

import functools
import json
import os
import re
import shlex
import stat
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from ..errors import BadValueError, StorageError
from .failures import naming

#: Below the daemon's root.
CONFIGURATION_FILE: Final = Path("etc/qubes_callback.json")

_WORDS: Final = (
    "setup", "destroy", "volume_create", "volume_remove", "volume_resize", "volume_start",
    "volume_stop", "volume_import", "volume_import_data", "volume_import_data_end",
    "volume_export", "volume_export_end",
)  # fmt: skip
HOOKS: Final = ("pre_sinit", *(f"{when}_{word}" for word in _WORDS for when in ("pre", "post")))

_CONF_ID: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_NO_COMMAND: Final = "-"
_TIMEOUT_S: Final = 120.0
_MOST_TIMEOUT_S: Final = 86_400.0
_MOST_BYTES: Final = 1 << 20
_MOST_SHOWN: Final = 60

T = TypeVar("T")
Command = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One entry of the file. `commands` are those of all hooks that run, `cmd` among them."""

    conf_id: str
    driver: str
    options: Mapping[str, str] = field(default_factory=dict)
    commands: Mapping[str, Command] = field(default_factory=dict)
    signal_back: bool = False
    timeout_s: float = _TIMEOUT_S


def parse_conf_id(text: str) -> str:
    """Parse the option `conf_id`."""
    if _CONF_ID.fullmatch(text) is None:
        raise BadValueError("conf_id", "it must be letters, digits and _.-, 64 at most")
    return text


def load_configuration(path: Path, conf_id: str, *, drivers: Collection[str]) -> Configuration:
    """Read one entry of the file. Blocks. `drivers` are those that may be behind the hooks.

    Raises `StorageError` if the file is none to be trusted, or the entry none that is understood.
    """
    return parse_configuration(_read(path), conf_id, drivers=drivers)


def _read(path: Path) -> bytes:
    with naming(path.name):
        # neither a link to what is somebody's, nor a pipe that keeps us waiting
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            _check_trusted(path.name, os.fstat(fd))
            with os.fdopen(fd, "rb", closefd=False) as file:
                raw = file.read(_MOST_BYTES + 1)
        finally:
            os.close(fd)
    if len(raw) > _MOST_BYTES:
        raise StorageError(path.name, f"it is larger than {_MOST_BYTES} bytes")
    return raw


def _check_trusted(name: str, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise StorageError(name, "it is not a regular file")
    if found.st_uid not in {0, os.geteuid()}:
        raise StorageError(name, "it must belong to root, or to the daemon's user")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise StorageError(name, "its group and others must not write to it")


def parse_configuration(raw: bytes, conf_id: str, *, drivers: Collection[str]) -> Configuration:
    """Parse one entry of the file's content; the others may be wrong. Raises `StorageError`."""
    name = CONFIGURATION_FILE.name
    try:
        everything: object = json.loads(
            raw.decode(), object_pairs_hook=_refuse_repeated, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError) as error:
        raise StorageError(name, f"it is not JSON: {error}") from error
    if not isinstance(everything, dict):
        raise StorageError(name, "it must be an object of conf_ids")
    if _CONF_ID.fullmatch(conf_id) is None or conf_id not in everything:
        raise StorageError(name, f"there is no conf_id {_shown(conf_id)}")
    return _parse_entry(everything[conf_id], conf_id, drivers)


def _parse_entry(found: object, conf_id: str, drivers: Collection[str]) -> Configuration:
    what = f"{CONFIGURATION_FILE.name}: {_shown(conf_id)}"
    if not isinstance(found, dict):
        raise StorageError(what, "it must be an object")
    entry = _Entry(what, found)
    default = entry.take("cmd", _parse_command, None)
    commands = {hook: entry.take(hook, _parse_command, default) for hook in HOOKS}
    configuration = Configuration(
        conf_id=conf_id,
        driver=entry.take("bdriver", functools.partial(_parse_driver, drivers=drivers), ""),
        options=entry.take("bdriver_args", _parse_options, {}),
        commands={hook: command for hook, command in commands.items() if command is not None},
        signal_back=entry.take("signal_back", _parse_flag, False),
        timeout_s=entry.take("timeout_s", _parse_timeout, _TIMEOUT_S),
    )
    entry.take("description", _parse_text, "")
    entry.end()
    if not configuration.driver:
        raise StorageError(what, "it needs the key 'bdriver'")
    return configuration


class _Entry:
    """An entry's keys, each taken once. What is left at the end nobody knows."""

    def __init__(self, what: str, found: dict[str, object]) -> None:
        self._what = what
        self._found = dict(found)

    def take(self, key: str, parse: Callable[[object], T], default: T) -> T:
        """Parse a key's value, or return the default. `parse` raises `ValueError` saying why."""
        if key not in self._found:
            return default
        try:
            return parse(self._found.pop(key))
        except ValueError as error:
            raise StorageError(f"{self._what}: {key!r}", str(error)) from error

    def end(self) -> None:
        """Refuse what is left."""
        for key in self._found:
            raise StorageError(f"{self._what}: {_shown(key)}", "there is no such key")


def _parse_text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("it must be text")  # noqa: TRY004  # as all that `_Entry.take` expects
    if "\0" in value:
        raise ValueError("it has a character that no program can be given")
    value.encode()  # of half a character pair; UnicodeEncodeError is a ValueError
    return value


def _parse_driver(value: object, *, drivers: Collection[str]) -> str:
    driver = _parse_text(value)
    if driver == "callback":
        raise ValueError("hooks around hooks are refused")
    if driver not in drivers:
        raise ValueError(f"there is no driver {_shown(driver)}")
    return driver


def _parse_options(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError("it must be an object")  # noqa: TRY004
    # whole numbers and booleans are what R4's own example has
    texts = {n: str(text) if isinstance(text, int) else text for n, text in value.items()}
    return {_parse_text(name): _parse_text(text) for name, text in texts.items()}


def _parse_command(value: object) -> Command | None:
    text = _parse_text(value)
    if text == _NO_COMMAND:
        return None
    words = tuple(shlex.split(text))
    if not words or not words[0].startswith("/"):
        raise ValueError("it must begin with the absolute path of a program, or be '-'")
    return words


def _parse_flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("it must be true or false")  # noqa: TRY004
    return value


def _parse_timeout(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("it must be a number of seconds")  # noqa: TRY004
    if not 0 < value <= _MOST_TIMEOUT_S:
        raise ValueError(f"it must be above 0, and {_MOST_TIMEOUT_S:g} at most")
    return float(value)


def _refuse_repeated(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the key {_shown(name)} is there twice")
        found[name] = value
    return found


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is no number")


def _shown(text: str) -> str:
    return repr(text[:_MOST_SHOWN])
