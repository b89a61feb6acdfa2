"""Words that a shell may offer, by kind: `python -m qubeward.tools.completion [KIND]`."""

import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from ..spec import METHODS
from ..spec.classes import CLASSES
from ..spec.properties import QUBE_PROPERTIES, SYSTEM_PROPERTIES
from ..spec.vm_body import PowerState

WORDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "methods": tuple(sorted(METHODS)),
        "classes": tuple(sorted(CLASSES)),
        "properties": tuple(sorted(QUBE_PROPERTIES)),
        "system-properties": tuple(sorted(SYSTEM_PROPERTIES)),
        "states": tuple(sorted(state.value for state in PowerState)),
    }
)


def main(words: Sequence[str] = ()) -> int:
    """Print the words of the given kinds (none given: the kinds), one a line."""
    unknown = [word for word in words if word not in WORDS]
    if unknown:
        sys.stderr.write(f"no such kind: {unknown[0]}; there are {', '.join(WORDS)}\n")
        return 2
    found = [word for kind in words for word in WORDS[kind]] if words else list(WORDS)
    sys.stdout.writelines(f"{word}\n" for word in found)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
