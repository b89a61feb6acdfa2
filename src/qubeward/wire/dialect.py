"""The two spellings of the protocol."""

from enum import Enum


class Dialect(Enum):
    """Which spelling an endpoint speaks: today's clients', or the draft page's to the letter."""

    R4 = "r4"
    DRAFT = "draft"
