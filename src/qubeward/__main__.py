"""`python -m qubeward`, and the program `qubeward`: the CLI, and commands that need no daemon."""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from .cli.main import program
from .cli.prefs import wire_text
from .cli.screen import print_table, spinner
from .cli.session import FailedError, Session, examples
from .client.call import Client
from .client.channel import INTERNAL_SOCKET, UnixSocket
from .client.qubes import Qubes
from .errors import AdminError, NotHaltedError
from .names import QUBE, ClassName, QubeName, VolumeName
from .spec import volume
from .spec.classes import CLASSES, TEMPLATE_VM
from .spec.vm_body import PowerState
from .spec.volume_body import ImportResult

_KERNELS: Final = "var/lib/qubes/vm-kernels"
_ROOT_VOLUME: Final = VolumeName("root")
_BUILDS: Final = ("mini", "debian")
_LABEL: Final = "black"


@program.command(
    epilog=examples(
        "qubeward daemon",
        "qubeward --root /tmp/trial daemon --set hypervisor.driver=fake",
    )
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a setting; repeat."
)
@click.pass_obj
def daemon(session: Session, overrides: tuple[str, ...]) -> None:
    """Serve the root in the foreground, until told to stop.

    Settings are read from etc/qubeward/qubeward.toml below the root.
    """
    # Here, not above: it loads the server, of which the other commands need nothing.
    from .daemon.main import run  # noqa: PLC0415

    raise click.exceptions.Exit(run(session.root, overrides))


@program.group()
def template() -> None:
    """Build templates for qubes."""


@template.command(
    epilog=examples(
        "qubeward template build mini",
        "qubeward template build debian debian-12 --property memory=512",
    )
)
@click.argument("build", type=click.Choice(_BUILDS), metavar="|".join(_BUILDS))
@click.argument("name", required=False)
@click.option(
    "--cache",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="QUBEWARD_CACHE",
    show_envvar=True,
    help="Where downloads and images are kept.",
)
@click.option(
    "--class",
    "klass",
    type=click.Choice([row.name for row in CLASSES.values() if row.owns_root]),
    default=TEMPLATE_VM.name,
    help="Make a qube of this class: one that has a root of its own.",
)
@click.pass_obj
def build(session: Session, build: str, name: str | None, cache: Path | None, klass: str) -> None:
    """Build a kernel and a root image, and make them a template of the running daemon.

    A template that exists gets the new root. The first kernel and the first template become the
    system's defaults.
    """
    from .workshop.errors import WorkshopError  # noqa: PLC0415

    chosen = QUBE.decode((name or build).encode("utf-8", "surrogateescape"))
    cache = cache or _cache_dir()
    cache.mkdir(parents=True, exist_ok=True)
    try:
        asyncio.run(_build(session, build, chosen, ClassName(klass), cache))
    except WorkshopError as error:
        raise FailedError(str(error)) from error


async def _build(
    session: Session, build: str, name: QubeName, klass: ClassName, cache: Path
) -> None:
    from .workshop import programs  # noqa: PLC0415
    from .workshop.kernel import build_kernel  # noqa: PLC0415
    from .workshop.publish import staging  # noqa: PLC0415

    # Before minutes of work: is all there that will be needed at its end?
    programs.require("kernel")
    programs.require(build)
    await _check_halted(session.qubes(), name, klass)
    with spinner("building the kernel"):
        version = build_kernel(session.root / _KERNELS, cache, _tell)
    with staging(cache, "template") as folder:
        image = folder / "root.img"
        with spinner(f"building {build}"):
            size_bytes = _BUILDERS[build](image, cache)
        await _publish(session, (name, klass), version, image, size_bytes)
    _tell(f"{name} is ready")


@program.command(
    epilog=examples(
        "qubeward recover --dry-run",
        "qubeward recover",
        "qubeward recover --pool ssd=file-reflink,dir_path=/srv/ssd",
    )
)
@click.option("--dry-run", is_flag=True, help="Only say what would be there.")
@click.option(
    "--pool",
    "pools",
    multiple=True,
    metavar="NAME=DRIVER,OPTION=VALUE…",
    help="A pool that is not known any more; repeat.",
)
@click.pass_obj
def recover(session: Session, dry_run: bool, pools: tuple[str, ...]) -> None:
    """Make a lost store again, from what is kept beside the volumes; the daemon doesn't run.

    Prints what was found, and what can't be known. A store that is there is never touched.
    """
    from .workshop import recover as work  # noqa: PLC0415
    from .workshop.errors import WorkshopError  # noqa: PLC0415

    try:
        more = [work.parse_pool(text) for text in pools]
        report = work.recover(session.root, more, dry_run=dry_run)
    except (WorkshopError, AdminError) as error:
        raise FailedError(str(error)) from error
    for name, trouble in report.pools:
        _tell(trouble or f"pool {name}: read")
    rows = [(name, klass, work.age_text(written)) for name, klass, written in report.qubes]
    print_table(("QUBE", "CLASS", "AS OF"), sorted(rows))
    for doubt in report.doubts:
        _tell(f"not known: {doubt}")
    _tell("nothing was written" if dry_run else f"{session.root / work.STORE} is made again")


def _mini(image: Path, cache: Path) -> int:
    from .workshop.mini import build_mini  # noqa: PLC0415

    build_mini(image, cache, _tell)
    return image.stat().st_size


def _debian(image: Path, cache: Path) -> int:
    from .workshop.debian import build_debian  # noqa: PLC0415

    build_debian(image, cache, _tell)
    return image.stat().st_size


_BUILDERS: Final = {"mini": _mini, "debian": _debian}


def _tell(text: str) -> None:
    click.echo(text, err=True)


def _cache_dir() -> Path:
    """Return where builds are kept when nobody says where."""
    if os.geteuid() == 0:
        return Path("/var/cache/qubeward")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qubeward"


async def _check_halted(qubes: Qubes, name: QubeName, klass: ClassName) -> None:
    for row in await qubes.rows():
        if row.name == name and row.klass != klass:
            raise FailedError(f"{name} exists, and is no {klass}: choose another name")
        if row.name == name and row.state is not PowerState.HALTED:
            raise NotHaltedError(name)


async def _publish(
    session: Session, what: tuple[QubeName, ClassName], version: str, image: Path, size_bytes: int
) -> None:
    """Make the image the root of the qube, and the first of a kind the default."""
    name, klass = what
    qubes = session.qubes()
    is_new = name not in {row.name for row in await qubes.rows()}
    if is_new:
        await qubes.create(name, klass=klass, label=_LABEL)
        _tell(f"created {klass} {name}")
    try:
        with spinner(f"importing the root of {name}"):
            await import_root(session.root, name, image, size_bytes)
    except (AdminError, OSError):
        if is_new:  # a template without a system on it helps nobody
            await qubes[name].remove()
        raise
    defaults = [("default_kernel", version)]
    if klass == TEMPLATE_VM.name:
        defaults.append(("default_template", name))
    for key, value in defaults:
        if not (await qubes.system.read(key)).text:
            await qubes.system.set(key, wire_text(key, value, system=True))
            _tell(f"set {key} to {value}")


async def import_root(root: Path, name: QubeName, image: Path, size_bytes: int) -> None:
    """Replace the root volume of a halted qube by an image; the old stays if this fails."""
    begin, end = volume.IMPORT_BEGIN, volume.IMPORT_END
    client = Client(UnixSocket(root / INTERNAL_SOCKET))
    target = await client.call(begin, name, _ROOT_VOLUME, size_bytes)
    try:
        fill(image, root / target.path.lstrip("/"))
    except OSError as error:
        result = ImportResult(False, f"{image.name}: {error.strerror or error}")
        await client.call(end, name, _ROOT_VOLUME, result)
        raise
    await client.call(end, name, _ROOT_VOLUME, ImportResult(True))


def fill(image: Path, target: Path) -> None:
    """Give a file the content of another: by sharing blocks where it can, holes stay holes."""
    from .host import files, pour  # noqa: PLC0415

    if not target.is_file():  # a device
        pour.copy(image, target)
        return
    # Beside it, then in its place: what the daemon made there is empty, and has its owner.
    fresh = target.with_name(f"{target.name}.fresh")
    owner = target.stat()
    fresh.unlink(missing_ok=True)
    try:
        try:
            files.clone_file(image, fresh)
        except files.CloneRefusedError:
            files.copy_sparse(image, fresh)
        os.chown(fresh, owner.st_uid, owner.st_gid)
        fresh.chmod(owner.st_mode & 0o777)
        files.switch_file(fresh, target)
    finally:
        fresh.unlink(missing_ok=True)


def main(words: Sequence[str] | None = None) -> int:
    """Run the program, and return its exit status."""
    try:
        program.main(args=words, prog_name="qubeward")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(bool(end.code))


if __name__ == "__main__":
    sys.exit(main())
