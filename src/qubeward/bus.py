"""Facts from whoever learns them to whoever listens, in order, in this process."""

from collections.abc import Callable

from .facts import Fact

Listener = Callable[[int, Fact], None]


class Bus:
    """Delivers facts to listeners at once. A listener may not raise and may not block."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Deliver every later fact to the listener; the returned call ends that."""
        self._listeners.append(listener)

        def unsubscribe() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return unsubscribe

    def publish(self, sequence: int, fact: Fact) -> None:
        """Tell every listener; `sequence` is that of the change the fact came with."""
        for listener in tuple(self._listeners):
            listener(sequence, fact)
