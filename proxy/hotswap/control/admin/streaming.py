"""The event log as server-sent events (WHATWG HTML 9.2)."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator

import trio

from hotswap.control.telemetry.events import Event, EventLog, Subscription

HEARTBEAT = 15.0
"""Seconds of silence after which a comment is sent, so that nobody between takes the connection for dead."""

RETRY = 1000
"""Milliseconds a browser waits before it comes back."""


def write_event(event: Event) -> bytes:
    """Give one event as a message: its number, its kind, and all of it as JSON."""
    data = json.dumps(event.as_json(), default=str, separators=(",", ":"))
    return f"id: {event.id}\nevent: {event.kind}\ndata: {data}\n\n".encode()


async def stream_events(events: EventLog, after: int | None, *, ending: trio.Event) -> AsyncGenerator[bytes, None]:
    """Give messages until the server ends, another process goes on, or the client is too slow.

    Args:
        after: the last number the client saw; None for only what comes from now on.
        ending: set when the server ends.
    """
    with events.subscribe(after) as subscription:
        # At once, so that the client knows it is connected and misses nothing from here on.
        yield b"retry: %d\n: listening from event %d\n\n" % (RETRY, events.last_id)
        if subscription.missed:
            lost = json.dumps({"kind": "events.missed", "count": subscription.missed})
            yield f"event: events.missed\ndata: {lost}\n\n".encode()
        # No yield inside a cancel scope: a generator must not give control away there.
        while (message := await _next_message(subscription, ending)) is not None:
            yield message


async def _next_message(subscription: Subscription, ending: trio.Event) -> bytes | None:
    """Wait for an event, or for the time of a heartbeat, or for the end, which is None."""
    message: bytes | None = b": heartbeat\n\n"
    with trio.move_on_after(HEARTBEAT):
        async with trio.open_nursery() as nursery:

            async def stop_at_the_end() -> None:
                await ending.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(stop_at_the_end)
            try:
                message = write_event(await anext(subscription))
            except StopAsyncIteration:
                return None
            finally:
                nursery.cancel_scope.cancel()
    return None if ending.is_set() else message
