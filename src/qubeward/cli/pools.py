"""`qubeward pool`: where volumes are kept."""

import asyncio
from collections.abc import Mapping
from typing import Final

import click

from ..client.volumes import Pools
from .screen import print_json, print_table
from .session import FAILED, FailedError, Session, examples, run
from .sizes import size_text
from .words import DRIVER, POOL, POOL_OPTION, POOL_SETTING

_HEADS: Final = ("NAME", "DRIVER", "USED", "SIZE", "USE%", "STATE")
_STYLES: Final[Mapping[str, Mapping[str, str]]] = {
    "STATE": {"ok": "green", "can't be used": "bold red"},
}


@click.group(
    "pool",
    epilog=examples(
        "qubeward pool ls",
        "qubeward pool add ssd file-reflink dir_path=/srv/ssd",
        "qubeward create work --pool ssd",
    ),
)
def pool() -> None:
    """Show the storage pools; add, change or remove one."""


@pool.command("ls")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@click.pass_obj
def ls(session: Session, as_json: bool) -> None:
    """List the pools: how large they are, and how full."""
    found = run(_all(Pools(session.client())))
    if as_json:
        print_json([_plain(info) for info in found])
        return
    print_table(_HEADS, [_cells(info) for info in found], _STYLES)


async def _all(pools: Pools) -> list[dict[str, str]]:
    return list(await asyncio.gather(*(pools.info(name) for name in await pools.names())))


def _plain(info: Mapping[str, str]) -> dict[str, object]:
    numbers = {"size", "usage", "revisions_to_keep", "warn_percent", "floor_mib"}
    return {key: int(value) if key in numbers else value for key, value in info.items()}


def _cells(info: Mapping[str, str]) -> tuple[str, ...]:
    state = "can't be used" if "trouble" in info else "ok"
    if "size" not in info:
        return (info["name"], info["driver"], "-", "-", "-", state)
    size, usage = int(info["size"]), int(info["usage"])
    percent = f"{100 * usage // size}%" if size else "-"
    return (info["name"], info["driver"], size_text(usage), size_text(size), percent, state)


@pool.command()
@click.argument("name", type=POOL)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.pass_obj
def info(session: Session, name: str, as_json: bool) -> None:
    """Show a pool's options, and its size and usage."""
    found = run(Pools(session.client()).info(name))
    if as_json:
        print_json(_plain(found))
        return
    for key in ("size", "usage"):
        if key in found:
            found[key] = f"{found[key]} ({size_text(int(found[key]))})"
    print_table(("PROPERTY", "VALUE"), list(found.items()), bare=True)


@pool.command()
@click.pass_obj
def drivers(session: Session) -> None:
    """List the storage drivers, with the options that a pool of each may have."""
    found = run(Pools(session.client()).drivers())
    rows = [(driver.name, " ".join(driver.options)) for driver in found]
    print_table(("DRIVER", "OPTIONS"), rows)


@pool.command(
    epilog=examples(
        "qubeward pool add ssd file-reflink dir_path=/srv/ssd revisions_to_keep=2",
        "qubeward pool add fast lvm_thin volume_group=vg0 thin_pool=pool00",
        "qubeward pool add big qcow2 dir_path=/srv/big floor_mib=2048 warn_percent=80",
    )
)
@click.argument("name")
@click.argument("driver", type=DRIVER)
@click.argument("option", nargs=-1, type=POOL_OPTION)
@click.pass_obj
def add(session: Session, name: str, driver: str, option: tuple[tuple[str, str], ...]) -> None:
    """Add a pool of a driver, with OPTION=VALUE for each of the driver's options."""
    run(Pools(session.client()).add(name, driver, dict(option)))


@pool.command()
@click.argument("name", type=POOL)
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.pass_obj
def remove(session: Session, name: str, yes: bool) -> None:
    """Remove a pool that keeps no volume. What else is on its disk stays there."""
    if not yes and not click.confirm(f"Remove the pool {name}?", err=True):
        raise click.exceptions.Exit(FAILED)
    run(Pools(session.client()).remove(name))


@pool.command(
    "set",
    epilog=examples(
        "qubeward pool set ssd revisions_to_keep=3", "qubeward pool set ssd ephemeral_volatile=yes"
    ),
)
@click.argument("name", type=POOL)
@click.argument("setting", nargs=-1, required=True, type=POOL_SETTING)
@click.pass_obj
def set_(session: Session, name: str, setting: tuple[tuple[str, str], ...]) -> None:
    """Set what new volumes in a pool are like."""
    pools = Pools(session.client())
    for key, text in setting:
        if key == "revisions_to_keep":
            run(pools.set_revisions_to_keep(name, number(key, text)))
        elif key == "ephemeral_volatile":
            run(pools.set_ephemeral_volatile(name, boolean(key, text)))
        else:
            raise FailedError(f"{key} can't be set: allowed: revisions_to_keep, ephemeral_volatile")


@pool.command()
@click.argument("name", type=POOL)
@click.pass_obj
def volumes(session: Session, name: str) -> None:
    """List the ids of the volumes that are kept in a pool."""
    click.echo("".join(f"{vid}\n" for vid in run(Pools(session.client()).volumes(name))), nl=False)


def number(key: str, text: str) -> int:
    """Return the number that a word means."""
    try:
        return int(text)
    except ValueError:
        raise FailedError(f"{key}: {text!r} is no number") from None


def boolean(key: str, text: str) -> bool:
    """Return the truth that a word means."""
    words = {"yes": True, "true": True, "on": True, "1": True}
    words |= {"no": False, "false": False, "off": False, "0": False}
    try:
        return words[text.lower()]
    except KeyError:
        raise FailedError(f"{key}: {text!r} is neither yes nor no") from None
