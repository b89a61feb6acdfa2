"""Running qubes: one contract, and the drivers that keep it."""
