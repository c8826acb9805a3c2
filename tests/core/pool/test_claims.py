"""Claims under every order of views and exchanges: what the data plane does is what the latest view allows."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hotswap.core.address import TcpAddress
from hotswap.core.identity import BackendId
from hotswap.core.pool.candidate import Candidate
from hotswap.core.pool.claims import Claims, UnbalancedRelease
from hotswap.core.pool.lifecycle import BackendState
from hotswap.core.pool.outlook import Outlook
from hotswap.core.pool.view import BackendView, PoolView
from hotswap.core.strategy import Balance

ADDRESS = TcpAddress("127.0.0.1", 1)


def one(
    number: int, *, claimable: bool = True, ejected: bool = False, state: BackendState | None = None
) -> BackendView:
    """A backend in a view; one that is not claimable drains, unless told otherwise."""
    return BackendView(
        id=BackendId(number),
        slot=number,
        generation=1,
        address=ADDRESS,
        h2c=False,
        state=state or (BackendState.READY if claimable else BackendState.DRAINING),
        claimable=claimable,
        ejected=ejected,
    )


def view_of(version: int, *backends: BackendView, paused: bool = False, limit: int = 0) -> PoolView:
    """A view of a pool."""
    return PoolView(
        pool="web",
        version=version,
        supervised=True,
        balance=Balance.LEAST_IN_FLIGHT,
        max_in_flight=limit,
        paused=paused,
        expecting=True,
        backends=backends,
    )


def test_an_older_view_changes_nothing():
    """It came late, and its answer names the version that is in force."""
    claims = Claims(view_of(3, one(1), one(2)))
    applied = claims.apply(view_of(2, one(1, claimable=False)))
    assert applied.version == claims.view.version == 3
    assert claims.claim() is claims.candidates[BackendId(1)]


def test_the_answer_to_a_view_tells_what_is_in_flight_at_that_moment():
    """So control knows at once whether there is anything to wait for."""
    claims = Claims(view_of(1, one(1), one(2)))
    claims.claim([BackendId(2)])
    applied = claims.apply(view_of(2, one(1, claimable=False), one(2)))
    assert (applied.version, applied.in_flight) == (2, {1: 1, 2: 0})


def test_the_end_of_an_exchange_of_a_draining_backend_is_told():
    """Each, also the last, and also when the backend has left the view."""
    ended: list[int] = []
    claims = Claims(view_of(1, one(1)), on_released=lambda candidate: ended.append(candidate.in_flight))
    first, second = claims.claim(), claims.claim()
    assert first is not None
    assert first is second
    claims.apply(view_of(2, one(1, claimable=False)))
    claims.release(first)
    claims.apply(view_of(3))
    claims.release(first)
    assert ended == [1, 0]
    with pytest.raises(UnbalancedRelease):
        claims.release(first)


def test_what_the_data_plane_ejects_is_left_out_at_once_and_until_a_view_says_otherwise():
    """It does not wait for control, which has the last word."""
    claims = Claims(view_of(1, one(1), one(2)))
    bad = claims.candidates[BackendId(1)]
    claims.set_ejected(bad, True)
    assert [claims.claim() for _ in range(3)] == [claims.candidates[BackendId(2)]] * 3
    claims.apply(view_of(2, one(1), one(2)))
    assert claims.claim() is bad


class ClaimsMachine(RuleBasedStateMachine):
    """Views of any content come in any order, and exchanges come and go."""

    @initialize()
    def create(self) -> None:
        self.version = 1
        self.latest = view_of(1)
        self.claims = Claims(self.latest, on_room=self.note_room, on_released=self.note_released)
        self.ledger: Counter[BackendId] = Counter()
        self.seen: dict[BackendId, Candidate] = {}
        self.released: list[BackendId] = []
        self.refused_at: tuple[int, int] | None = None
        self.rooms = 0

    def note_room(self) -> None:
        self.rooms += 1

    def note_released(self, candidate: Candidate) -> None:
        self.released.append(candidate.id)

    @rule(
        step=st.integers(-2, 3),
        backends=st.lists(st.tuples(st.integers(1, 4), st.booleans(), st.booleans()), unique_by=lambda row: row[0]),
        paused=st.booleans(),
        limit=st.sampled_from([0, 1, 2]),
        balance=st.sampled_from(Balance),
    )
    def a_view_comes(
        self, step: int, backends: list[tuple[int, bool, bool]], paused: bool, limit: int, balance: Balance
    ) -> None:
        # An id is never used twice: one that has gone does not come back.
        known = {candidate.id for candidate in self.claims.candidates.values()}
        rows = [row for row in backends if row[0] in known or row[0] not in self.seen]
        view = PoolView(
            pool="web",
            version=max(0, self.version + step),
            supervised=True,
            balance=balance,
            max_in_flight=limit,
            paused=paused,
            expecting=True,
            backends=tuple(one(number, claimable=claimable, ejected=ejected) for number, claimable, ejected in rows),
        )
        if view.version > self.latest.version:
            self.latest, self.version = view, view.version
        applied = self.claims.apply(view)
        self.seen.update(self.claims.candidates)
        assert applied.version == self.latest.version
        assert applied.in_flight == {backend.id: self.ledger[backend.id] for backend in self.latest.backends}

    @rule(data=st.data())
    def a_request_comes(self, data: st.DataObject) -> None:
        excluding = (
            data.draw(st.sets(st.sampled_from(sorted(self.claims.candidates)), max_size=1))
            if self.seen and (self.claims.candidates)
            else set()
        )
        outlook = self.claims.outlook()
        candidate = self.claims.claim(excluding)
        if candidate is None:
            assert excluding or outlook is not Outlook.CLAIMABLE
            if not excluding:
                self.refused_at = (self.version, self.rooms)
            return
        (shown,) = (backend for backend in self.latest.backends if backend.id == candidate.id)
        assert shown.claimable
        assert not self.latest.paused
        assert candidate.id not in excluding
        assert not self.latest.max_in_flight or self.ledger[candidate.id] < self.latest.max_in_flight
        assert not candidate.ejected or all(
            other.ejected for other in self.claims.candidates.values() if other.claimable
        )
        self.ledger[candidate.id] += 1

    @precondition(lambda self: any(self.ledger.values()))
    @rule(data=st.data())
    def an_exchange_ends(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(number for number, count in self.ledger.items() if count)))
        self.released.clear()
        self.ledger[number] -= 1
        self.claims.release(self.seen[number])
        claimable = any(backend.id == number and backend.claimable for backend in self.latest.backends)
        assert self.released == ([] if claimable else [number])

    @rule(data=st.data(), ejected=st.booleans())
    def the_data_plane_ejects(self, data: st.DataObject, ejected: bool) -> None:
        if self.claims.candidates:
            number = data.draw(st.sampled_from(sorted(self.claims.candidates)))
            self.claims.set_ejected(self.claims.candidates[number], ejected)
            self.refused_at = None

    @invariant()
    def the_counts_are_those_of_the_ledger(self) -> None:
        for number, candidate in self.seen.items():
            assert candidate.in_flight == self.ledger[number]

    @invariant()
    def what_is_claimable_is_what_the_latest_view_shows(self) -> None:
        shown = {backend.id for backend in self.latest.backends if backend.claimable}
        assert {number for number, candidate in self.seen.items() if candidate.claimable} == shown

    @invariant()
    def whoever_found_nothing_is_told_when_there_is_something(self) -> None:
        if self.refused_at == (self.version, self.rooms):
            assert self.claims.outlook() is not Outlook.CLAIMABLE


TestClaims = ClaimsMachine.TestCase
