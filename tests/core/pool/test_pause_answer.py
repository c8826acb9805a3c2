"""What requests for a paused pool are answered."""

from __future__ import annotations

import json

import pytest

from hotswap.core.pool.claims import Claims
from hotswap.core.pool.events import PoolEvent, PoolPaused, PoolResumed
from hotswap.core.pool.outlook import Outlook
from hotswap.core.pool.pause_answer import MAX_PAGE_BYTES, PauseAnswer, read_pause_answer
from hotswap.core.pool.pool import Pool
from hotswap.core.strategy import Balance

PAGE = PauseAnswer(page="<h1>später</h1>".encode())


def pool_of(events: list[PoolEvent]) -> Pool:
    """A pool that is watched."""
    pool = Pool(name="web", balance=Balance.ROUND_ROBIN, size=1, supervised=True)
    pool.observe(events.append)
    return pool


@pytest.mark.parametrize("answer", [PauseAnswer(status=404), PAGE, None])
def test_it_travels_whole(answer):
    """To another process, as JSON."""
    written = None if answer is None else json.loads(json.dumps(answer.write()))
    assert read_pause_answer(written) == answer


@pytest.mark.parametrize(
    "value",
    [
        {"status": 399, "page": ""},
        {"status": 600, "page": ""},
        {"status": "503", "page": ""},
        {"status": 503},
        {"status": 503, "page": None},
        {"status": 503, "page": "x" * (MAX_PAGE_BYTES + 1)},
        {"status": 503, "page": "\ud800"},
        503,
        [],
    ],
)
def test_what_is_none_is_refused(value):
    """Whoever wrote it."""
    with pytest.raises(ValueError, match=r"status|surrogates"):
        read_pause_answer(value)


def test_what_is_told_has_not_the_page_in_it():
    """A status and an event are read by many."""
    assert PAGE.tell() == {"status": 503, "page": True}
    assert PauseAnswer(status=404).tell() == {"status": 404, "page": False}


def test_a_pause_can_be_given_another_answer():
    """Each change is one event; the same again is none, and a resume ends it with the pause."""
    events: list[PoolEvent] = []
    pool = pool_of(events)
    for answer in (None, None, PAGE, PAGE, PauseAnswer(status=404), None):
        pool.pause(answer)
    pool.resume()
    assert events == [
        PoolPaused("web", None),
        PoolPaused("web", PAGE),
        PoolPaused("web", PauseAnswer(status=404)),
        PoolPaused("web", None),
        PoolResumed("web"),
    ]
    assert (pool.paused, pool.answer, pool.view().answer) == (False, None, None)


def test_a_data_plane_learns_it_with_the_view():
    """And nothing is claimed or held then."""
    pool = pool_of([])
    claims = Claims(pool.view())
    pool.pause()
    claims.apply(pool.view())
    assert claims.outlook() is Outlook.EXPECTED
    pool.pause(PAGE)
    claims.apply(pool.view())
    assert claims.outlook() is Outlook.ANSWERED
    assert claims.view.answer == PAGE
    assert pool.expecting  # as for every pause: who waits for the pool need not give up
    pool.resume()
    claims.apply(pool.view())
    assert claims.outlook() is Outlook.EXPECTED
