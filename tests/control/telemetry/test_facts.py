"""Processes are looked at outside the loop, by one at a time, and not more often than anybody needs."""

from __future__ import annotations

import os

import trio
import trio.testing

from hotswap.control.telemetry.facts import FRESH, FactsBook


async def test_a_view_shows_what_the_last_look_has_found(mock_clock: trio.testing.MockClock) -> None:
    """Nothing before the first, and nothing of who is gone."""
    pids = [os.getpid(), 999_999_999]
    book = FactsBook(lambda: pids)
    assert book.of(os.getpid()) is None
    await book.look()
    facts = book.of(os.getpid())
    assert facts is not None
    assert facts.memory > 0
    assert book.of(999_999_999) is None
    assert book.of(None) is None


async def test_many_who_come_together_share_a_look(mock_clock: trio.testing.MockClock) -> None:
    """A scrape, a page and a command line are no reason for three."""
    looks = []

    def pids() -> list[int]:
        looks.append(trio.current_time())
        return [os.getpid()]

    book = FactsBook(pids)
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(book.look)
    assert len(looks) == 1
    mock_clock.jump(FRESH)
    await book.look()
    assert len(looks) == 2
