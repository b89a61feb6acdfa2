"""Add-ons: what follows from a change, and what a call may not ask. One file each.

`EXTENSIONS` are those that come with the program; each is a call that registers with the hooks.
"""

from collections.abc import Callable
from typing import Final

from ..hooks import Hooks
from . import clocksync, consequences, created_by, features, gui_audio, relay, servicevm

EXTENSIONS: Final[tuple[Callable[[Hooks], None], ...]] = (
    created_by.register,
    gui_audio.register,
    servicevm.register,
    clocksync.register,
    relay.register,
    consequences.register,
    features.register,
)
