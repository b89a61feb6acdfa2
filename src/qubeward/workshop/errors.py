"""What the workshop says when it can't build something."""


class WorkshopError(Exception):
    """A build failed; the text says why, and what the reader can do about it."""
