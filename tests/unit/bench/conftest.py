import sys
from pathlib import Path

# bench/ is no part of the package: it stands beside it.
sys.path.append(str(Path(__file__).parents[3]))
