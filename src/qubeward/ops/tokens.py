"""Tokens that stand for a volume to be cloned: in memory, good once, and not for ever."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from ..errors import VolumeTokenError
from ..names import VolumeName

LIFETIME_S: Final = 3600.0
_MOST: Final = 4096


@dataclass(frozen=True, slots=True)
class Origin:
    """A volume of a qube."""

    uuid: UUID
    volume: VolumeName


class Tokens:
    """Who holds a token may have the volume's content; 32 characters that nobody can guess."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._given: dict[str, tuple[float, Origin]] = {}

    def give(self, origin: Origin) -> str:
        """Return a new token. Of too many, the oldest is forgotten."""
        self._forget_old()
        while len(self._given) >= _MOST:
            del self._given[next(iter(self._given))]
        token = secrets.token_hex(16)
        self._given[token] = (self._now() + LIFETIME_S, origin)
        return token

    def take(self, token: str) -> Origin:
        """Return what a token stands for; it is used up by this. Raise `VolumeTokenError`."""
        self._forget_old()
        try:
            return self._given.pop(token)[1]
        except KeyError:
            raise VolumeTokenError from None

    def _forget_old(self) -> None:
        now = self._now()
        while self._given:
            token, (until, _) = next(iter(self._given.items()))
            if until > now:
                return
            del self._given[token]
