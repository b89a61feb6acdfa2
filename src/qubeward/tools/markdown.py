"""Markdown as the printed pages need it: text, code and tables."""

import re
from collections.abc import Iterable, Sequence

_NOTICE = (
    "<!-- Printed by scripts/print-docs: change the table it comes from, then print again. -->"
)


def page(title: str, *parts: str) -> str:
    """Return a page: its title, the notice that it is printed, and parts apart by empty lines."""
    return "\n\n".join((f"# {title}", _NOTICE, *(part.strip("\n") for part in parts))) + "\n"


def code(text: str) -> str:
    """Return the text as code in a line; the empty text as nothing."""
    return f"`{text}`" if text else ""


def cell(text: str) -> str:
    """Return text that a cell of a table can hold: one line, no bars."""
    return " ".join(text.replace("|", "\\|").split())


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell(text) for text in line)} |" for line in lines)


def plain(rst: str) -> str:
    """Return reStructuredText of the tables as a line of Markdown."""
    return " ".join(re.sub(r"``([^`]*)``", r"`\1`", rst).split())


def first_line(doc: str | None) -> str:
    """Return the first paragraph of a docstring, as one line."""
    return " ".join((doc or "").split("\n\n")[0].split())
