"""Observer list that delivers events in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

EventT = TypeVar("EventT")


class Observers(Generic[EventT]):
    """Callbacks that get every event; events that a callback causes are delivered after the current one.

    Args:
        of: what is observed, for the message when a callback fails.
    """

    __slots__ = ("_callbacks", "_of", "_telling", "_untold")

    def __init__(self, of: str) -> None:
        self._of = of
        self._callbacks: list[Callable[[EventT], None]] = []
        self._untold: deque[EventT] = deque()
        self._telling = False

    def add(self, callback: Callable[[EventT], None]) -> Callable[[], None]:
        """Add a callback.

        Returns:
            A function that ends that; calling it again does nothing.
        """
        self._callbacks.append(callback)

        def stop_observing() -> None:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

        return stop_observing

    def tell(self, *events: EventT) -> None:
        """Deliver an event to all callbacks.

        Raises:
            ExceptionGroup: some callbacks failed; every event was told to every one all the same.
        """
        self._untold.extend(events)
        if self._telling:
            return
        faults: list[Exception] = []
        self._telling = True
        try:
            while self._untold:
                event = self._untold.popleft()
                for callback in tuple(self._callbacks):
                    try:
                        callback(event)
                    except Exception as fault:
                        # The others must not miss an event because one of them is broken.
                        faults.append(fault)
        finally:
            self._telling = False
        if faults:
            raise ExceptionGroup(f"observers of {self._of} failed", faults)
