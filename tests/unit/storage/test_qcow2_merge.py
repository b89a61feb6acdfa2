import pytest
from hypothesis import given
from hypothesis import strategies as st

from qubeward.storage.qcow2_merge import choose_below


@pytest.mark.parametrize(
    ("sizes", "below"),
    [
        ([1] * 8 + [500], 8),  # a large installation, little on top: that stays
        ([1] * 7 + [500, 1], 7),  # the large one came second, as by a first start
        ([1] * 6 + [500, 1, 1], 6),
        ([9] * 8 + [10], 9),  # all was written over many times: one layer
        ([1] * 6 + [3, 20, 500], 7),
        ([1] * 6 + [6, 20, 500], 6),
    ],
)
def test_what_is_copied_is_never_more_than_what_is_below(sizes: list[int], below: int) -> None:
    assert choose_below(sizes) == below


@given(st.lists(st.integers(0, 1 << 40), min_size=9, max_size=30))
def test_few_layers_are_left(sizes: list[int]) -> None:
    below = choose_below(sizes)
    assert 1 <= below <= len(sizes)
    assert 1 + len(sizes) - below <= 4


@given(st.lists(st.integers(1, 100), min_size=200, max_size=200))
def test_a_long_life_copies_little(written: list[int]) -> None:
    """Each stop's bytes are copied a few times, not once for each later merge."""
    chain, copied = [1000], 0
    for size in written:
        chain.insert(0, size)
        if len(chain) > 8:
            below = choose_below(chain)
            merged = sum(chain[:below])
            copied += merged
            chain[:below] = [merged]
    assert copied < 12 * (sum(written) + 1000)
