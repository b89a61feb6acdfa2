"""The printed pages: `python -m qubeward.tools.reference [PAGE…]`, without a page all of them."""

import sys
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from .events import events_page
from .failures import errors_page
from .methods import methods_page
from .policy import policy_page
from .properties import classes_page, properties_page

PAGES: Final[Mapping[str, Callable[[], str]]] = MappingProxyType(
    {
        "calls": methods_page,
        "classes": classes_page,
        "default-policy": policy_page,
        "errors": errors_page,
        "events": events_page,
        "properties": properties_page,
    }
)


def main(words: Sequence[str] = ()) -> int:
    """Print the named pages."""
    unknown = [word for word in words if word not in PAGES]
    if unknown:
        sys.stderr.write(f"no such page: {unknown[0]}; there are {', '.join(PAGES)}\n")
        return 2
    sys.stdout.write("\n".join(PAGES[word]() for word in words or PAGES))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
