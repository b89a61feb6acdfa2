"""Measures how fast an Admin API socket answers: `python -m bench`."""

import importlib.util
import os
import sys
from pathlib import Path

if importlib.util.find_spec("qubeward") is None:  # a checkout that isn't installed
    _SOURCE = str(Path(__file__).parent.parent / "src")
    sys.path.insert(0, _SOURCE)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (_SOURCE, os.getenv("PYTHONPATH"))))
