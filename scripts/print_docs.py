"""Print docs/reference/ and docs/settings.md from the tables. `--check` only says what is old."""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from qubeward.daemon.config import SETTINGS, Setting
from qubeward.storage.drivers import DRIVERS, DriverRow
from qubeward.tools.markdown import code, page, table
from qubeward.tools.reference import PAGES

DOCS = Path(__file__).parents[1] / "docs"

SETTINGS_INTRODUCTION = """\
The daemon reads `etc/qubeward/qubeward.toml` below its root, if it is there. Every setting has a
default, so an empty file is as good as none. An unknown key or a value out of its range stops the
daemon at its start, with the file and the key in the message (exit status 2).

```toml
[log]
level = "debug"

[hypervisor]
accel = "tcg"
```

`--set KEY=VALUE` overrides the file for one run, and may be repeated:

```sh
qubeward --root DIR daemon --set hypervisor.driver=fake --set log.level=debug
```"""

DRIVERS_INTRODUCTION = """\
What keeps the volumes of a pool: what each is for, and how to choose, is in
[storage](../storage.md). A fresh system has two pools: `varlibqubes`, whose driver the setting
`storage.default_driver` chooses, and `linux-kernel`.

`dir_path` is a path as seen with the daemon's root as `/`. `revisions_to_keep` is what new volumes
get; `ephemeral_volatile` whether volatile volumes are encrypted with a key that nobody keeps.
`warn_percent` (default 90) is how full a pool is when its event `pool-space` warns; `floor_mib`
(default: a twentieth of the pool, 128 MiB at most) how much must be free for a start, a creation
or an import."""


def _values(setting: Setting) -> str:
    """Return which values a setting takes, in the words that it refuses others with."""
    try:
        setting.parse(object())
    except ValueError as error:
        return str(error).removesuffix(" is expected")
    raise ValueError(f"{setting.key} takes anything")


def _default(value: object) -> str:
    if isinstance(value, bool):
        return code(str(value).lower())
    return code(str(value)) or '`""`'


def settings_page() -> str:
    """Return the reference of the settings."""
    rows = [(code(s.key), _values(s), _default(s.default), s.doc) for s in SETTINGS]
    return page(
        "Settings", SETTINGS_INTRODUCTION, table(("key", "values", "default", "what"), rows)
    )


def _driver(row: DriverRow) -> tuple[str, ...]:
    options = (code(o.name) + (" (required)" if o.required else "") for o in row.options)
    settings = (code(f"storage.{option.name}") for option in row.settings)
    able = row.capabilities
    words = (
        "starts and clones copy nothing"
        if able.cheap_snapshots
        else "copies whole files at each start",
        "read-only" if able.read_only else "",
        _revisions(able.most_revisions),
        "" if able.keeps_records or able.read_only else "`qubeward recover` finds nothing in it",
    )
    return (
        code(row.name),
        ", ".join(options),
        ", ".join(settings) or "none",
        ", ".join(word for word in words if word),
    )


def _revisions(most: int | None) -> str:
    if most is None:
        return "any number of snapshots"
    return f"{most} snapshot" if most else ""


def drivers_page() -> str:
    """Return the reference of the storage drivers."""
    rows = [_driver(row) for row in DRIVERS.values() if not row.for_tests]
    head = ("driver", "options of a pool", "settings", "at its best")
    return page("Storage drivers", DRIVERS_INTRODUCTION, table(head, rows))


#: Every printed file, relative to docs/, and what prints it.
PRINTED: Mapping[str, Callable[[], str]] = {
    **{f"reference/{name}.md": print_page for name, print_page in PAGES.items()},
    "reference/storage-drivers.md": drivers_page,
    "settings.md": settings_page,
}


def stale() -> list[str]:
    """Return which files are not what would be printed now, and which nobody prints."""
    old = [
        name
        for name, print_page in PRINTED.items()
        if not (DOCS / name).is_file() or (DOCS / name).read_text("utf-8") != print_page()
    ]
    there = {path.relative_to(DOCS).as_posix() for path in (DOCS / "reference").glob("*.md")}
    return old + sorted(there - PRINTED.keys() - {"reference/README.md"})


def main() -> int:
    """Write every printed file that is old."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if any is old")
    check = parser.parse_args().check
    for name in stale():
        print(f"docs/{name}")
        if check:
            continue
        if name in PRINTED:
            (DOCS / name).parent.mkdir(parents=True, exist_ok=True)
            (DOCS / name).write_text(PRINTED[name](), "utf-8")
        else:
            (DOCS / name).unlink()
    return 1 if check and stale() else 0


if __name__ == "__main__":
    sys.exit(main())
