"""What every test may use: how much to do, and settings of hypothesis that repeat."""

import ctypes
import os

import pytest
from hypothesis import HealthCheck, settings

ROUNDS = int(os.environ.get("QUBEWARD_ROUNDS", "1"))

# One round is the same every time: ./check must not fail on someone else's change. More rounds
# (make soak) look for what is new.
settings.register_profile(
    "rounds",
    max_examples=50 * ROUNDS,
    derandomize=ROUNDS == 1,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("rounds")


_CLONE_NEWNS = 0x20000
_MS_REC_PRIVATE = 0x4000 | 1 << 18


def pytest_configure() -> None:
    """Let root's tests mount where nobody else sees it: all is gone with the process."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None)
        if libc.unshare(_CLONE_NEWNS) == 0:
            libc.mount(None, b"/", None, _MS_REC_PRIVATE, None)


@pytest.fixture(scope="session")
def rounds() -> int:
    """How much a randomised test does: 1 in ./check and make test, many in make soak."""
    return ROUNDS
