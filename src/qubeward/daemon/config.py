"""The settings: one table of them, from which come defaults, checks and the printed reference."""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final


class ConfigError(Exception):
    """A setting is unknown or out of its range; says which file and key."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. `parse` takes a value of TOML, or text from the command line, or raises."""

    key: str
    default: Any
    parse: Callable[[Any], Any]
    doc: str


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a text is expected")  # noqa: TRY004  # one kind of error
    return value


def _one_of(*words: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if value not in words:
            raise ValueError(f"one of {', '.join(words)} is expected")
        return str(value)

    return parse


def _number(low: int, high: int) -> Callable[[Any], int]:
    def parse(value: Any) -> int:
        number = int(value) if isinstance(value, str) and value.isdecimal() else value
        if not isinstance(number, int) or isinstance(number, bool) or not low <= number <= high:
            raise ValueError(f"a number from {low} to {high} is expected")
        return number

    return parse


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return bool(value == "true")
    raise ValueError("true or false is expected")


_DAY_S: Final = 86_400
SETTINGS: Final = (
    Setting("log.level", "info", _one_of("debug", "info", "warning", "error"), "How much to log."),
    Setting("log.format", "auto", _one_of("auto", "text", "json"),
            "`json`: one object a line; `auto`: text on a terminal, else json."),
    Setting("server.group", "qubes", _text, "The host's group that may administer, if it exists."),
    Setting("server.connections", 10_000, _number(1, 1_000_000), "Connections a socket, at most."),
    Setting("server.header_bytes", 4096, _number(128, 65536), "Bytes of a request's header."),
    Setting("server.request_bytes", 65536, _number(1024, 1 << 24), "Bytes of a request, at most."),
    Setting("server.read_deadline_s", 30, _number(1, _DAY_S),
            "Seconds from connecting to the end of the request."),
    Setting("server.write_deadline_s", 60, _number(1, _DAY_S),
            "Seconds that a caller may take to read its answer."),
    Setting("server.stream_idle_s", 300, _number(1, _DAY_S),
            "Seconds that the sender of a volume's data may pause."),
    Setting("server.stop_grace_s", 20, _number(0, _DAY_S),
            "Seconds that operations under way get when the daemon stops."),
    Setting("store.driver", "sqlite", _one_of("sqlite", "memory"),
            "`memory` forgets all at the end (trials and tests)."),
    Setting("storage.default_driver", "auto", _one_of("auto", "file-reflink", "qcow2", "file"),
            "The driver of the pool that a fresh system gets; `auto`: by what the disk can do."),
    Setting("storage.reflink_fallback", False, _boolean,
            "Let file-reflink copy whole files where the file system can't share them."),
    Setting("hypervisor.driver", "libvirt", _one_of("libvirt", "fake"),
            "`fake` runs nothing (trials and tests)."),
    Setting("hypervisor.uri", "", _text,
            "libvirt's connection URI; empty: its QEMU driver inside this process."),
    Setting("hypervisor.accel", "auto", _one_of("auto", "kvm", "tcg"),
            "`auto` proves KVM by running a guest, and emulates (`tcg`) where it doesn't work."),
    Setting("hypervisor.user", "qubeward-qemu", _text,
            "The account that guests run as when the daemon is root."),
    Setting("hypervisor.fake.memory_mib", 16384, _number(1, 1 << 30), "Memory of the fake host."),
    Setting("hypervisor.fake.cpus", 4, _number(1, 65536), "Processors of the fake host."),
)  # fmt: skip
_BY_KEY: Final = {setting.key: setting for setting in SETTINGS}


class Config(Mapping[str, Any]):
    """Checked settings, by dotted key."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = {s.key: values.get(s.key, s.default) for s in SETTINGS}

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Any:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def below(self, prefix: str) -> dict[str, str]:
        """Return the settings below a prefix as text, for drivers that parse their own."""
        texts = {}
        for key, value in self._values.items():
            if key.startswith(f"{prefix}."):
                text = str(value).lower() if isinstance(value, bool) else str(value)
                texts[key.removeprefix(f"{prefix}.")] = text
        return texts


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _checked(where: str, key: str, value: Any) -> Any:
    setting = _BY_KEY.get(key)
    if setting is None:
        raise ConfigError(f"{where}: no such setting: {key}")
    try:
        return setting.parse(value)
    except ValueError as error:
        raise ConfigError(f"{where}: {key}: {error}") from None


def load(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read the file (none: all defaults), then `key=value` overrides; raise `ConfigError`."""
    try:
        found = _flat(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        found = {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from None
    values = {key: _checked(str(path), key, value) for key, value in found.items()}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise ConfigError(f"--set {override}: key=value is expected")
        values[key] = _checked("--set", key, text)
    return Config(values)
