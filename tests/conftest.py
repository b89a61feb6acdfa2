"""What every test may use: how much to do, and settings of hypothesis that repeat."""

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


@pytest.fixture(scope="session")
def rounds() -> int:
    """How much a randomised test does: 1 in ./check and make test, many in make soak."""
    return ROUNDS
