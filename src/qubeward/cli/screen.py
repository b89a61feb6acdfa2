"""Output: a table for people at a terminal, plain aligned columns for everything else."""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any

import click

from .session import safe


def print_json(value: Any) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def is_rich(stream: IO[Any]) -> bool:
    """Tell whether to draw and colour: a person looks on, at a terminal that can."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def print_table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    styles: Mapping[str, Mapping[str, str]] | None = None,
    *,
    bare: bool = False,
) -> None:
    """Print rows under their heads; `styles` colours cells on a terminal, by head and text.

    `bare` leaves out the heads where no terminal is: one row a line, for scripts.
    """
    clean = [[safe(cell).replace("\n", " ") for cell in row] for row in rows]
    if is_rich(sys.stdout):
        _print_rich(heads, clean, styles or {})
        return
    lines = clean if bare else [list(heads), *clean]
    widths = [max((len(line[i]) for line in lines), default=0) for i in range(len(heads))]
    for line in lines:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(padded).rstrip())


def _print_rich(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    styles: Mapping[str, Mapping[str, str]],
) -> None:
    # Here, not above: it takes longer to load than most commands take to run.
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        cells = zip(heads, row, strict=True)
        table.add_row(*(Text(cell, styles.get(head, {}).get(cell, "")) for head, cell in cells))
    Console().print(table)


@contextmanager
def spinner(text: str) -> Iterator[None]:
    """Show on standard error, if it is a terminal, that something is under way."""
    if not is_rich(sys.stderr):
        yield
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.markup import escape  # noqa: PLC0415

    with Console(stderr=True).status(escape(safe(text))):
        yield
