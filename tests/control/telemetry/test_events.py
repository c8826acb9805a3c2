"""What the event log promises to those who listen."""

from __future__ import annotations

import re

import pytest
import trio
import trio.testing

from hotswap.control.telemetry.events import Event, EventLog, Subscription


async def take(subscription: Subscription, count: int) -> list[Event]:
    """Take some events, or fail in time."""
    with trio.fail_after(5):
        return [await anext(subscription) for _ in range(count)]


async def test_events_are_numbered_from_one_and_carry_their_fields() -> None:
    """The first event is 1, and its JSON is flat."""
    log = EventLog()
    assert log.last_id == 0
    assert log.publish("backend.ready", pool="web", slot=0) == 1
    assert log.publish("backend.drained", pool="web", slot=1) == 2
    first = log.recent()[0].as_json()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(first.pop("at")))
    assert first == {"id": 1, "kind": "backend.ready", "pool": "web", "slot": 0}


async def test_texts_of_an_event_are_cut() -> None:
    """Whoever follows them keeps a thousand."""
    log = EventLog()
    log.publish("backend.failed", detail="x" * 600_000, output=["y" * 600_000])
    assert len(str(log.recent()[0].as_json())) < 20_000


async def test_a_subscriber_gets_only_what_comes_after_it_came() -> None:
    """Without a number nothing is replayed."""
    log = EventLog()
    log.publish("one")
    with log.subscribe() as subscription:
        log.publish("two")
        assert [event.kind for event in await take(subscription, 1)] == ["two"]


async def test_a_subscriber_that_comes_back_gets_each_event_once_and_in_order() -> None:
    """The replay and what is published later join without a gap or a double."""
    log = EventLog()
    for number in range(5):
        log.publish(f"e{number + 1}")
    with log.subscribe(after=2) as subscription:
        log.publish("e6")
        assert [event.id for event in await take(subscription, 4)] == [3, 4, 5, 6]
        assert subscription.missed == 0


async def test_events_that_fell_out_of_the_ring_are_counted_as_missed() -> None:
    """A gap is said, never hidden."""
    log = EventLog(ring=3)
    for _ in range(10):
        log.publish("tick")
    with log.subscribe(after=2) as subscription:
        assert subscription.missed == 5
        assert [event.id for event in await take(subscription, 3)] == [8, 9, 10]


async def test_a_number_of_another_log_gives_everything_that_is_kept() -> None:
    """After a restart of the proxy numbers begin anew, and a client with an old number misses nothing."""
    log = EventLog()
    log.publish("first")
    with log.subscribe(after=500) as subscription:
        assert [event.id for event in await take(subscription, 1)] == [1]


async def test_a_slow_subscriber_is_disconnected_and_the_others_are_not() -> None:
    """Publishing never waits: the queue of the slow one ends, after what it held was given."""
    log = EventLog(queue=2)
    with log.subscribe() as slow, log.subscribe() as quick:
        seen = []
        for number in range(4):
            log.publish(f"e{number}")
            seen += [event.kind for event in await take(quick, 1)]
        assert seen == ["e0", "e1", "e2", "e3"]
        assert len(log.subscriptions) == 1
        assert [event.kind for event in await take(slow, 2)] == ["e0", "e1"]
        with trio.fail_after(5), pytest.raises(StopAsyncIteration):
            await anext(slow)


async def test_a_waiting_subscriber_is_woken_by_a_publication() -> None:
    """An idle subscription costs no polling."""
    log = EventLog()
    got: list[str] = []

    async def listen(subscription: Subscription) -> None:
        got.append((await anext(subscription)).kind)

    with log.subscribe() as subscription, trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen, subscription)
            await trio.testing.wait_all_tasks_blocked()
            log.publish("woken")
    assert got == ["woken"]


async def test_leaving_the_with_block_ends_the_subscription() -> None:
    """Nothing is kept for somebody who is gone."""
    log = EventLog()
    with log.subscribe():
        assert len(log.subscriptions) == 1
    assert len(log.subscriptions) == 0


async def test_listeners_are_let_go_when_another_process_goes_on():
    """With what was published before; whoever comes back to this log after all learns that some was missed."""
    log = EventLog()
    with log.subscribe() as listening:
        log.publish("before")
        log.part()
        log.publish("after")
        assert [event.kind async for event in listening] == ["before"]
    assert len(log.subscriptions) == 0
    log.skip()
    number = log.publish("again")
    # What the other process told had numbers from 3 on.
    with log.subscribe(after=7) as listening:
        assert listening.missed
        assert (await anext(listening)).id == number
