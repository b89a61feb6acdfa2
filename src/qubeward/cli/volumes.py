"""`qubeward volume`: the disks of qubes."""

import asyncio
import contextlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import click

from ..client.qubes import Qube, Qubes
from ..client.volumes import Volume
from ..errors import QubeNotFoundError
from ..names import VolumeName
from ..spec import volume as rows
from ..spec.volume_body import VolumeInfo
from .pools import boolean, number
from .screen import print_json, print_table, spinner
from .session import FAILED, FailedError, Session, examples, run
from .sizes import Size, size_text
from .transfer import bar, chunks, copy_out, fresh_file, known_size
from .words import QUBE, SNAPSHOT, VOLUME, VOLUME_SETTING

_HEADS: Final = ("VOLUME", "KIND", "SIZE", "USED", "POOL", "RW", "SNAPSHOTS", "OUTDATED")
_STANDARD: Final = "-"
_AT_ONCE: Final = 16

_qube = click.argument("qube", type=QUBE)
_volume = click.argument("volume", type=VOLUME)


@click.group(
    epilog=examples(
        "qubeward volume ls",
        "qubeward volume resize work private +5G",
        "qubeward volume import mytemplate root image.img",
    )
)
def volume() -> None:
    """Show the volumes of qubes; resize, fill, snapshot or revert one."""


@volume.command("ls")
@click.argument("qube", nargs=-1, type=QUBE)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@click.pass_obj
def ls(session: Session, qube: tuple[str, ...], as_json: bool) -> None:
    """List the volumes of qubes, of all or of those named, in the order of their disks."""
    found = run(_of_qubes(Qubes(session.client()), qube))
    if as_json:
        print_json([{"qube": of, "name": name, **_plain(info)} for of, name, info in found])
    elif len(qube) == 1:
        print_table(_HEADS, [_cells(name, info) for _, name, info in found])
    else:
        rows = [(of, *_cells(name, info)) for of, name, info in found]
        print_table(("QUBE", *_HEADS), rows)


async def _of_qubes(qubes: Qubes, wanted: Sequence[str]) -> list[tuple[str, str, VolumeInfo]]:
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(name: str) -> list[tuple[str, str, VolumeInfo]]:
        async with turns:
            try:
                return [(name, *found) for found in await _all(qubes[name])]
            except QubeNotFoundError:
                if wanted:
                    raise
                return []  # removed since it was listed

    names = wanted or [row.name for row in await qubes.rows()]
    return [found for of_one in await asyncio.gather(*map(one, names)) for found in of_one]


async def _all(qube: Qube) -> list[tuple[str, VolumeInfo]]:
    names = await qube.volumes()
    infos = await asyncio.gather(*(qube.volume(name).info() for name in names))
    return list(zip(names, infos, strict=True))


def kind(info: VolumeInfo) -> str:
    """Say in a word or two what becomes of a volume at its qube's start and stop."""
    if info.save_on_stop:
        return "kept, from another" if info.snap_on_start else "kept"
    if info.snap_on_start:
        return "fresh copy"
    if not info.rw and not info.source and info.size_bytes == 0:
        return "kernel's"
    return "volatile, encrypted" if info.ephemeral else "volatile"


def _cells(name: str, info: VolumeInfo) -> tuple[str, ...]:
    keeps = {-1: "never", 0: "none"}.get(info.revisions_to_keep, f"up to {info.revisions_to_keep}")
    return (
        name,
        kind(info),
        size_text(info.size_bytes),
        size_text(info.usage_bytes),
        info.pool,
        "rw" if info.rw else "ro",
        keeps if info.save_on_stop else "-",
        "yes" if info.is_outdated else "-",
    )


def _plain(info: VolumeInfo) -> dict[str, object]:
    return {
        "kind": kind(info),
        "pool": info.pool,
        "vid": info.vid,
        "size": info.size_bytes,
        "usage": info.usage_bytes,
        "rw": info.rw,
        "source": info.source or None,
        "path": info.path,
        "save_on_stop": info.save_on_stop,
        "snap_on_start": info.snap_on_start,
        "revisions_to_keep": info.revisions_to_keep,
        "ephemeral": info.ephemeral,
        "is_outdated": info.is_outdated,
    }


@volume.command()
@_qube
@_volume
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.pass_obj
def info(session: Session, qube: str, volume: str, as_json: bool) -> None:
    """Show all that is known of a volume."""
    found = _plain(run(session.qube(qube).volume(volume).info()))
    if as_json:
        print_json(found)
        return
    cells = [(key, "-" if value is None else str(value)) for key, value in found.items()]
    for index, (key, text) in enumerate(cells):
        if key in ("size", "usage"):
            cells[index] = (key, f"{text} ({size_text(int(text))})")
    print_table(("PROPERTY", "VALUE"), cells, bare=True)


@volume.command(epilog=examples("qubeward volume resize work private 20G",
                                "qubeward volume resize work private +512M"))  # fmt: skip
@_qube
@_volume
@click.argument("size", type=Size(may_add=True))
@click.pass_obj
def resize(session: Session, qube: str, volume: str, size: tuple[bool, int]) -> None:
    """Make a volume SIZE large, or larger by +SIZE. Its qube may run."""
    run(_resize(session.qube(qube).volume(volume), size))


async def _resize(volume: Volume, size: tuple[bool, int]) -> None:
    more, size_bytes = size
    if more:
        size_bytes += (await volume.info()).size_bytes
    await volume.resize(size_bytes)


@volume.command(
    "import",
    epilog=examples(
        "qubeward volume import debian root debian.img",
        "zstdcat debian.img.zst | qubeward volume import debian root - --size 4G",
    ),
)
@_qube
@_volume
@click.argument("file", default=_STANDARD)
@click.option(
    "--size", type=Size(), help="How much comes; without it, the file's length or the volume's."
)
@click.pass_obj
def import_(
    session: Session, qube: str, volume: str, file: str, size: tuple[bool, int] | None
) -> None:
    """Replace a halted qube's volume by raw data from FILE (`-`: standard input).

    The volume becomes as large as the data. The old content stays until all has come.
    """
    chosen = session.qube(qube).volume(volume)
    with _input(file) as source:
        size_bytes = known_size(source) if size is None else size[1]
        shown = size_bytes or run(chosen.info()).size_bytes
        with bar(f"{qube} {volume}", shown) as advance:
            run(chosen.fill(chunks(source, advance), size_bytes))


@contextmanager
def _input(file: str) -> Iterator[IO[bytes]]:
    if file == _STANDARD:
        if sys.stdin.isatty():
            raise FailedError("nothing comes from this terminal: name a file, or redirect one")
        yield sys.stdin.buffer
        return
    with Path(file).open("rb") as source:
        yield source


@volume.command(
    epilog=examples(
        "qubeward volume export work private work.img",
        "qubeward volume export work private - | zstd > work.img.zst",
    )
)
@_qube
@_volume
@click.argument("file")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.pass_obj
def export(session: Session, qube: str, volume: str, file: str, force: bool) -> None:
    """Write what a volume was at its qube's last stop to FILE (`-`: standard output), as raw data.

    Only on the daemon's host, by who may read the daemon's files.
    """
    if file == _STANDARD and sys.stdout.isatty():
        raise FailedError("a volume's data is nothing for a terminal: name a file, or use a pipe")
    with _exported(session, qube, volume) as (path, size_bytes), contextlib.ExitStack() as stack:
        target: IO[bytes] = sys.stdout.buffer
        if file != _STANDARD:
            target = stack.enter_context(fresh_file(Path(file), force=force))
        with bar(f"{qube} {volume}", size_bytes) as advance:
            copy_out(path, target, size_bytes, advance)


@contextmanager
def _exported(session: Session, qube: str, volume: str) -> Iterator[tuple[Path, int]]:
    client = session.client(rows.EXPORT_BEGIN.name)
    target = run(client.call(rows.EXPORT_BEGIN, qube, VolumeName(volume)))
    try:
        # A device's path is the host's own; a file's is below the root.
        is_device = target.path.startswith("/dev/")
        path = Path(target.path) if is_device else session.root / target.path.lstrip("/")
        yield path, target.size_bytes
    finally:
        run(client.call(rows.EXPORT_END, qube, VolumeName(volume)))


@volume.command()
@_qube
@_volume
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@click.pass_obj
def snapshots(session: Session, qube: str, volume: str, as_json: bool) -> None:
    """List the snapshots that are kept of a volume, oldest first."""
    from datetime import UTC, datetime  # noqa: PLC0415  # slow to load

    found = run(session.qube(qube).volume(volume).snapshots())
    if as_json:
        print_json([{"snapshot": each.id, "time": each.time_s or None} for each in found])
        return
    cells = []
    for each in found:
        when = datetime.fromtimestamp(each.time_s, UTC).astimezone() if each.time_s else None
        cells.append((each.id, "-" if when is None else when.strftime("%Y-%m-%d %H:%M:%S")))
    print_table(("SNAPSHOT", "CONTENT OF"), cells)


@volume.command()
@_qube
@_volume
@click.pass_obj
def snapshot(session: Session, qube: str, volume: str) -> None:
    """Keep what a volume was at its qube's last stop; print the snapshot's name.

    It is kept as all snapshots are: until `revisions_to_keep` newer ones were made by stops.
    """
    click.echo(run(session.qube(qube).volume(volume).snapshot()))


@volume.command(epilog=examples("qubeward volume revert work private",
                                "qubeward volume revert work private 3"))  # fmt: skip
@_qube
@_volume
@click.argument("snapshot", type=SNAPSHOT, required=False)
@click.pass_obj
def revert(session: Session, qube: str, volume: str, snapshot: str | None) -> None:
    """Make a halted qube's volume what it was at a snapshot; without one, at the newest.

    What it is now is kept as a snapshot.
    """
    run(_revert(session.qube(qube).volume(volume), snapshot))


async def _revert(volume: Volume, snapshot: str | None) -> None:
    if snapshot is None:
        found = await volume.snapshots()
        if not found:
            raise FailedError(f"no snapshot is kept of {volume.name} of {volume.dest}")
        snapshot = found[-1].id
    await volume.revert(snapshot)


@volume.command(epilog=examples("qubeward volume clone work private work2"))
@_qube
@_volume
@click.argument("to", type=QUBE, metavar="TO-QUBE")
@click.argument("to_volume", type=VOLUME, metavar="[TO-VOLUME]", required=False)
@click.pass_obj
def clone(session: Session, qube: str, volume: str, to: str, to_volume: str | None) -> None:
    """Replace a halted qube's volume by a copy of another one, as that was at its last stop."""
    source = session.qube(qube).volume(volume)
    with spinner(f"copying {volume} of {qube} to {to}"):
        run(source.clone_to(session.qube(to).volume(to_volume or volume)))


@volume.command()
@_qube
@_volume
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.pass_obj
def clear(session: Session, qube: str, volume: str, yes: bool) -> None:
    """Empty a halted qube's volume."""
    question = f"Empty {volume} of {qube}?"
    if not yes and not click.confirm(question, err=True):
        raise click.exceptions.Exit(FAILED)
    run(session.qube(qube).volume(volume).clear())


@volume.command(
    "set",
    epilog=examples(
        "qubeward volume set work private revisions_to_keep=3",
        "qubeward volume set work volatile ephemeral=yes",
        "qubeward volume set work root rw=no",
    ),
)
@_qube
@_volume
@click.argument("setting", nargs=-1, required=True, type=VOLUME_SETTING)
@click.pass_obj
def set_(session: Session, qube: str, volume: str, setting: tuple[tuple[str, str], ...]) -> None:
    """Set how many snapshots a volume keeps, whether it can be written to, or is encrypted."""
    chosen = session.qube(qube).volume(volume)
    for key, text in setting:
        match key:
            case "revisions_to_keep":
                run(chosen.set_revisions_to_keep(number(key, text)))
            case "rw":
                run(chosen.set_rw(boolean(key, text)))
            case "ephemeral":
                run(chosen.set_ephemeral(boolean(key, text)))
            case _:
                raise FailedError(f"{key} can't be set: allowed: revisions_to_keep, rw, ephemeral")
