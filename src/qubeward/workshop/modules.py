"""Which kernel modules must be loaded for some wanted ones, and in which order."""

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from .errors import WorkshopError


def module_name(path: str) -> str:
    """Return the module's name as the kernel says it: file names have `-` where it has `_`."""
    return PurePosixPath(path).name.partition(".ko")[0].replace("-", "_")


def parse_dependencies(text: str) -> dict[str, tuple[str, ...]]:
    """Parse modules.dep: each module's path and the paths it needs."""
    needs = {}
    for line in text.splitlines():
        path, colon, rest = line.partition(":")
        if colon:
            needs[path] = tuple(rest.split())
    return needs


def load_order(
    wanted: Iterable[str], needs: Mapping[str, tuple[str, ...]], builtin: Iterable[str]
) -> list[str]:
    """Order the wanted modules, by name, and all they need: each path after those it needs.

    The same input gives the same order, and nothing else changes it. What the kernel has built in
    is left out.
    """
    paths = {module_name(path): path for path in needs}
    in_kernel = {module_name(path) for path in builtin}
    order: dict[str, None] = {}
    for name in wanted:
        if name in paths:
            _visit(paths[name], needs, order, ())
        elif name not in in_kernel:
            raise WorkshopError(f"the kernel has no module {name}")
    return list(order)


def _visit(
    path: str,
    needs: Mapping[str, tuple[str, ...]],
    order: dict[str, None],
    above: tuple[str, ...],
) -> None:
    if path in order:
        return
    if path in above:
        raise WorkshopError(f"module {module_name(path)} needs itself")
    # depmod names what is needed first last.
    for need in reversed(needs.get(path, ())):
        _visit(need, needs, order, (*above, path))
    order[path] = None
