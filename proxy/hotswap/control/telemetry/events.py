"""The numbered record of every change of state, and those who listen to it.

Theory: a change is published once, gets the next number, and is kept in a bounded ring. A subscriber names
the last number it has seen, gets what the ring still holds after it, then every later event, each once and in
order. Publishing is a plain call that never waits: a subscriber that does not keep up is disconnected, and
comes back with the last number it saw. So the slowest reader costs the proxy one bounded queue and nothing
else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import trio

from hotswap.core.printable import LONGEST_VALUE, bounded_value

RING = 1000
"""How many events are kept for those who come back."""

QUEUE = 1000
"""How many events may wait for one subscriber before it is disconnected; a whole replay of the ring fits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One change of state.

    Attributes:
        id: its number; the first event of a proxy process is 1.
        at: when, as ISO 8601 in UTC with milliseconds.
        kind: a dotted lower-case name in the past tense, such as `backend.ready`.
        fields: what it is about, ready for JSON.
    """

    id: int
    at: str
    kind: str
    fields: Mapping[str, object] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """Give the event as one flat object: `id`, `at`, `kind`, then its fields."""
        return {"id": self.id, "at": self.at, "kind": self.kind, **self.fields}


class Subscription:
    """One listener's place in the log: an iterator of events, which ends with what is queued.

    Attributes:
        missed: how many events after the asked number the ring no longer held.
    """

    def __init__(self, replay: tuple[Event, ...], missed: int, limit: int) -> None:
        self.missed = missed
        self._waiting = deque(replay)
        self._limit = limit
        self._ended = False
        self._arrived = trio.Event()

    def end(self) -> None:
        """Give what is queued, and nothing more."""
        self._ended = True
        self._arrived.set()

    def offer(self, event: Event) -> bool:
        """Queue an event without waiting; False when the queue was full and the subscription has ended."""
        if len(self._waiting) >= self._limit:
            self.end()
            return False
        self._waiting.append(event)
        self._arrived.set()
        return True

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Event:
        """Wait for the next event and take it.

        **Cancellation**: no event is lost; the next call gives it.
        """
        while not self._waiting:
            if self._ended:
                raise StopAsyncIteration
            self._arrived = trio.Event()
            await self._arrived.wait()
        return self._waiting.popleft()


def utc_now(ahead: float = 0.0) -> str:
    """Give the wall clock, or a moment so many seconds ahead of it, as ISO 8601 in UTC with milliseconds."""
    return written_utc(datetime.now(UTC) + timedelta(seconds=ahead))


def written_utc(moment: datetime) -> str:
    """Give a moment in UTC as ISO 8601 with milliseconds."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class EventLog:
    """Numbers, keeps and hands out events.

    Attributes:
        last_id: number of the newest event; 0 before the first.
        subscriptions: those that have not ended.
        silent: another process goes on with the numbers, so nothing is recorded here.
    """

    def __init__(self, *, ring: int = RING, queue: int = QUEUE) -> None:
        """Start an empty log."""
        self._ring: deque[Event] = deque(maxlen=ring)
        self._queue = queue
        self.last_id = 0
        self.silent = False
        self.subscriptions: set[Subscription] = set()

    def restore(self, last: int, events: Iterable[Event]) -> None:
        """Go on where the log of another process stood, so that those who come back miss nothing."""
        self.last_id = last
        self._ring.clear()
        self._ring.extend(events)

    def publish(self, kind: str, **fields: object) -> int:
        """Record a change and hand it to everybody who listens; never waits.

        Args:
            kind: a dotted lower-case name in the past tense.
            fields: what it is about; ready for JSON, and none called `id`, `at` or `kind`.

        Returns:
            The number of the event.
        """
        if self.silent:
            return self.last_id
        self.last_id += 1
        bounded = {key: bounded_value(value, LONGEST_VALUE) for key, value in fields.items()}
        event = Event(id=self.last_id, at=utc_now(), kind=kind, fields=bounded)
        self._ring.append(event)
        self.subscriptions = {one for one in self.subscriptions if one.offer(event)}
        return event.id

    def recent(self, after: int = 0) -> tuple[Event, ...]:
        """Give what the ring still holds after an event number, oldest first."""
        return tuple(event for event in self._ring if event.id > after)

    @contextmanager
    def subscribe(self, after: int | None = None) -> Iterator[Subscription]:
        """Listen within the block, from a number on.

        Args:
            after: the last event seen; None means only events from now on. A number this log has not reached
                belongs to another process's log, so everything kept is given.
        """
        if after is None:
            after = self.last_id
        elif not 0 <= after <= self.last_id:
            after = 0
        replay = self.recent(after)
        missed = self.last_id - after - len(replay)
        subscription = Subscription(replay, missed, max(self._queue, len(replay)))
        self.subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self.subscriptions.discard(subscription)

    def skip(self) -> None:
        """Leave out the numbers that a process which is gone has used: its listeners are told that they missed some."""
        self.last_id += RING

    def part(self) -> None:
        """End every subscription: who listens has to ask anew, and finds the process that goes on."""
        while self.subscriptions:
            self.subscriptions.pop().end()
