"""Merging: a content whose layers are many becomes one of few, in a new file. Blocking.

Each stop puts a layer on top, and each layer makes a guest's first access to a place a little
slower, and its start. What is merged is new; the layers that it is made of stay as they are, and
are deleted when nobody names them any more.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from ..host import files, process
from ..host.process import Completed
from . import host_tools
from .failures import naming
from .qcow2_layers import Change, Layers
from .qcow2_layout import NOTHING, Format, Layer

#: How many layers may stay below the merged one.
_MOST_BELOW: Final = 3
# For what hangs: terabytes are copied in hours.
_TIMEOUT_S: Final = 24 * 3600


def merge(layers: Layers, vid: str, pointer_path: Path, most: int) -> None:
    """Let a volume's content have few layers, if it has more than `most`; it stays the same.

    Another content that is committed meanwhile stays. Raises `StorageError`.
    """
    with layers.merging(vid), layers.ledger.borrowed(vid) as pointer, naming(vid):
        chain = [] if pointer is None else layers.ledger.chain(vid, pointer.content.layer)
        if len(chain) <= most:
            return
        below = choose_below([files.allocated_bytes(layers.path(layer)) for layer in chain])
        half = layers.half_made()
        try:
            if below == len(chain):
                convert(vid, layers.path(chain[0]), chain[0].format, half, "qcow2")
                on = NOTHING
            else:
                _rebase(vid, layers, chain[0], chain[below], half)
                on = chain[below].number
            with layers.added(half, on, "qcow2") as number:
                layers.change(vid, pointer_path, _naming_merged(chain[0].number, number))
        finally:
            files.remove_file(half)


def _naming_merged(old: int, new: int) -> Change:
    return lambda now: None if now is None else now.merge(old, new)


def choose_below(sizes: Sequence[int]) -> int:
    """Return the layer to be below the merged one, or how many layers there are for none.

    The sizes are on disk, those of the top layer first. What is above the one that is chosen is
    copied; that one is at least as large as all of it, so that nothing is copied over and over.
    """
    for below in range(max(1, len(sizes) - _MOST_BELOW), len(sizes)):
        if sizes[below] >= sum(sizes[:below]):
            return below
    return len(sizes)


def _rebase(vid: str, layers: Layers, top: Layer, below: Layer, half: Path) -> None:
    """Make a copy of the top layer, then put what is between into it."""
    files.copy_sparse(layers.path(top), half)
    words = ("-f", "qcow2", "-F", below.format, "-b", below.name)
    _qemu_img(vid, "rebase", *words, str(half))


def convert(vid: str, source: Path, from_format: Format, dest: Path, to_format: Format) -> None:
    """Copy a content to a file that must not exist: one layer, holes where there are zeros."""
    files.make_sparse(dest, 0)  # nobody else's to read, other than what QEMU would make
    _qemu_img(vid, "convert", "-f", from_format, "-O", to_format, str(source), str(dest))


def _qemu_img(vid: str, *words: str) -> None:
    host_tools.call(_run, vid, ["qemu-img", *words])


def _run(
    argv: Sequence[str], *, timeout_s: float, env: Mapping[str, str], check: bool
) -> Completed:
    return process.run(argv, timeout_s=_TIMEOUT_S, env=env, check=check)
