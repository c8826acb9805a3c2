"""The retry rules, row by row, and the limits above them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.core.errors import AddressUnknown, ConnectFailed, NothingLeft, UpstreamBroken, UpstreamTimedOut
from hotswap.core.http.retry import (
    BACKOFF_LIMIT,
    MAX_RETRIES,
    RULES,
    Attempt,
    Fail,
    Failure,
    Retry,
    RetryBudget,
    Where,
    backoff,
    decide,
    failure_of,
    given_up,
)

# One attempt, and what must follow, for each row of the table; the key is the row's situation.
ROWS: dict[str, tuple[Attempt, Retry | Fail]] = {
    "the response is partly sent": (
        Attempt(failure=Failure.BROKEN, idempotent=True, request_bytes=9, response_bytes=9, sent_bytes=9),
        Fail(0, blame=True),
    ),
    "no connection, and another backend to ask": (
        Attempt(failure=Failure.NOT_CONNECTED, untried=True, retries=MAX_RETRIES, marked=True),
        Retry(Where.OTHER_BACKEND, counted=False, blame=True),
    ),
    "no connection": (
        Attempt(failure=Failure.NOT_CONNECTED),
        Retry(Where.OTHER_BACKEND, blame=True),
    ),
    "a connection that takes no byte": (
        Attempt(failure=Failure.BROKEN),
        Retry(Where.OTHER_BACKEND, blame=True),
    ),
    "the backend did not process it": (
        Attempt(failure=Failure.NOT_PROCESSED, request_bytes=9, response_bytes=9, retries=MAX_RETRIES, marked=True),
        Retry(Where.OTHER_BACKEND, counted=False),
    ),
    "nobody processed it in time": (
        Attempt(failure=Failure.NOT_SENT, overdue=True),
        Fail(503),
    ),
    "a reused connection ended without a response": (
        Attempt(failure=Failure.BROKEN, reused=True, idempotent=True, request_bytes=9),
        Retry(Where.FRESH_CONNECTION),
    ),
    "a fresh connection ended without a response": (
        Attempt(failure=Failure.BROKEN, idempotent=True, request_bytes=9),
        Retry(Where.OTHER_BACKEND, blame=True),
    ),
    "no response in time": (
        Attempt(failure=Failure.TIMED_OUT, idempotent=True, request_bytes=9),
        Fail(504, blame=True),
    ),
    "a reused connection ended and may have done it": (
        Attempt(failure=Failure.BROKEN, reused=True, request_bytes=9),
        Fail(502),
    ),
    "a connection broke": (
        Attempt(failure=Failure.BROKEN, idempotent=True, request_bytes=9, response_bytes=9),
        Fail(502, blame=True),
    ),
    "whatever else": (
        Attempt(failure=Failure.NOT_PROCESSED, request_bytes=9, replayable=False),
        Fail(502),
    ),
}


def test_each_row_has_its_example() -> None:
    """A row that is added needs a case here."""
    assert [rule.situation for rule in RULES] == list(ROWS)


@pytest.mark.parametrize("situation", ROWS)
def test_each_situation_is_decided_by_its_own_row(situation: str) -> None:
    """The first row that fits the example is the row it is the example of, and the verdict is the row's."""
    attempt, verdict = ROWS[situation]
    assert next(rule.situation for rule in RULES if rule.fits(attempt)) == situation
    assert decide(attempt) == verdict


@pytest.mark.parametrize("failure", [Failure.NOT_CONNECTED, Failure.BROKEN])
def test_what_was_never_sent_is_retried_whatever_the_method(failure: Failure) -> None:
    """A POST of which no byte was written goes to another backend."""
    assert decide(Attempt(failure=failure, idempotent=False)) == Retry(Where.OTHER_BACKEND, blame=True)


def test_a_body_that_is_gone_is_never_retried() -> None:
    """Not even after a refused connect."""
    for failure in Failure:
        verdict = decide(Attempt(failure=failure, idempotent=True, replayable=False))
        assert isinstance(verdict, Fail)


attempts = st.builds(
    Attempt,
    failure=st.sampled_from(Failure),
    reused=st.booleans(),
    request_bytes=st.sampled_from((0, 1, 70_000)),
    idempotent=st.booleans(),
    replayable=st.booleans(),
    response_bytes=st.sampled_from((0, 1)),
    sent_bytes=st.sampled_from((0, 1)),
    retries=st.integers(0, 3),
    marked=st.booleans(),
    untried=st.booleans(),
    overdue=st.booleans(),
)


@given(attempts)
def test_a_retry_never_does_twice_what_was_asked_once(attempt: Attempt) -> None:
    """Every retry has a safe reason; a response that was begun is never retried nor given a clean end."""
    verdict = decide(attempt)
    if isinstance(verdict, Retry):
        safe = attempt.idempotent and attempt.response_bytes == 0
        # A connect that failed carries nothing, whatever an earlier attempt has written.
        untouched = attempt.request_bytes == 0 or attempt.failure is Failure.NOT_CONNECTED
        assert safe or untouched or attempt.failure in (Failure.NOT_PROCESSED, Failure.NOT_SENT)
        assert attempt.replayable
        assert attempt.sent_bytes == 0
        if verdict.counted:
            assert attempt.retries < MAX_RETRIES
            assert not attempt.marked
        elif verdict.where is Where.OTHER_BACKEND:
            assert not attempt.overdue
    elif attempt.sent_bytes:
        assert verdict.status == 0


def test_tries_end() -> None:
    """After two retries, or behind a proxy that has retried it, the exchange is answered 502."""
    attempt = Attempt(failure=Failure.NOT_CONNECTED)
    assert isinstance(decide(replace(attempt, retries=MAX_RETRIES - 1)), Retry)
    assert decide(replace(attempt, retries=MAX_RETRIES)) == Fail(502, blame=True)
    assert decide(replace(attempt, marked=True)) == Fail(502, blame=True)


def test_what_gives_up_keeps_the_blame() -> None:
    """A backend that refuses connects is blamed whether or not a retry was left."""
    assert given_up(Retry(Where.FRESH_CONNECTION)) == Fail(502)
    assert given_up(Retry(Where.OTHER_BACKEND, blame=True)) == Fail(502, blame=True)


def test_the_backoff_grows_to_its_limit_and_is_full_jitter() -> None:
    """From nothing to 25 ms at first, to 250 ms at most, however many retries there were."""
    assert backoff(0, lambda: 0.0) == 0.0
    assert backoff(0, lambda: 1.0) == pytest.approx(0.025)
    assert backoff(1, lambda: 1.0) == pytest.approx(0.05)
    assert backoff(1000, lambda: 1.0) == BACKOFF_LIMIT
    assert backoff(1000, lambda: 0.5) == BACKOFF_LIMIT / 2


def test_the_budget_is_a_fifth_of_what_is_in_flight_and_three_at_least() -> None:
    """Places are given back; what was not claimed cannot be."""
    budget = RetryBudget()
    assert [budget.claim(1) for _ in range(4)] == [True, True, True, False]
    assert [budget.claim(25) for _ in range(3)] == [True, True, False]
    budget.release()
    assert budget.claim(25)
    for _ in range(5):
        budget.release()
    with pytest.raises(ValueError, match="never claimed"):
        budget.release()


def test_the_share_of_one_backend_that_dies_fits_the_budget() -> None:
    """Also while a few of others are retried (found: 10 of 15 were given up)."""
    budget = RetryBudget()
    assert [budget.claim(30, backend="b", share=9, now=5.0) for _ in range(2)] == [True, True]
    assert all(budget.claim(30, backend="a", share=left, now=5.1) for left in range(15, 0, -1))
    assert not budget.claim(30, backend="a", share=1, now=5.5)


def test_only_one_backend_at_a_time_is_taken_for_dying() -> None:
    """When all fail it is an overload; a second later another may have died."""
    budget = RetryBudget()
    assert all(budget.claim(30, backend="a", share=left, now=5.0) for left in range(15, 0, -1))
    assert not budget.claim(30, backend="b", share=15, now=5.5)
    assert all(budget.claim(30, backend="b", share=left, now=6.0) for left in range(15, 0, -1))


@given(st.lists(st.tuples(st.integers(0, 50), st.sampled_from("abc"), st.integers(0, 50)), max_size=80))
def test_of_what_fails_together_only_so_much_is_retried(claims: list[tuple[int, str, int]]) -> None:
    """A fifth of all, or three, and the share of one backend."""
    budget = RetryBudget()
    for in_flight, backend, share in claims:
        budget.claim(in_flight, backend=backend, share=share, now=0.5)
    assert budget.active <= max((10, *(share + 10 for _, _, share in claims)))


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (ConnectFailed("refused"), Failure.NOT_CONNECTED),
        (NothingLeft("no descriptor"), Failure.NOT_SENT),
        (AddressUnknown("not looked up yet"), Failure.NOT_SENT),
        (UpstreamTimedOut("too slow"), Failure.TIMED_OUT),
        (UpstreamBroken("reset"), Failure.BROKEN),
        (UpstreamBroken("an earlier GOAWAY", retry_safe=True), Failure.NOT_PROCESSED),
    ],
    ids=["refused", "no descriptor", "no address", "timeout", "reset", "not begun with"],
)
def test_an_error_of_a_connection_is_a_kind_of_failure(
    error: ConnectFailed | UpstreamBroken | UpstreamTimedOut, failure: Failure
):
    """Where the backend has no part in it, nothing was sent and nobody is blamed."""
    assert failure_of(error) is failure
