"""`python -m qubeward`, and the program `qubeward`."""

import sys
from pathlib import Path

from .daemon.main import run


def main() -> int:
    """Run the program."""
    root = Path(sys.argv[sys.argv.index("--root") + 1])
    sets = [a for i, a in enumerate(sys.argv) if i and sys.argv[i - 1] == "--set"]
    return run(root, sets)


if __name__ == "__main__":
    sys.exit(main())
