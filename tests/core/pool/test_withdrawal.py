"""Letting go of a backend: in order, in time, and answered once."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hotswap.core.pool.withdrawal import DISCONNECT, Withdrawal, WithdrawalAct, WithdrawalStage


def test_nothing_in_flight_and_nothing_connected_is_released_at_once():
    """There is nothing to wait for."""
    withdrawal = Withdrawal(deadline=8.0)
    assert withdrawal.advance(now=0.0, in_flight=0, connections=0) == (WithdrawalAct.ANSWER,)
    assert withdrawal.stage is WithdrawalStage.RELEASED


def test_what_ends_in_time_is_neither_parted_nor_cut():
    """Its connections are closed, and then it is answered."""
    withdrawal = Withdrawal(deadline=8.0)
    assert withdrawal.advance(now=1.0, in_flight=2, connections=3) == ()
    assert withdrawal.advance(now=5.9, in_flight=0, connections=1) == (WithdrawalAct.CLOSE_IDLE,)
    assert withdrawal.advance(now=5.9, in_flight=0, connections=0) == (WithdrawalAct.ANSWER,)
    assert withdrawal.advance(now=9.0, in_flight=0, connections=0) == ()


def test_in_the_last_seconds_tunnels_leave_and_at_the_end_the_rest_is_cut():
    """One after the other; and what is cut is not waited for without end."""
    withdrawal = Withdrawal(deadline=8.0, leave_within=2.0)
    assert withdrawal.look_at == 6.0
    assert withdrawal.advance(now=6.0, in_flight=1, connections=1) == (WithdrawalAct.PART_TUNNELS,)
    assert withdrawal.look_at == 8.0
    assert withdrawal.advance(now=7.0, in_flight=1, connections=1) == ()
    assert withdrawal.advance(now=8.0, in_flight=1, connections=1) == (WithdrawalAct.CUT, WithdrawalAct.CLOSE_IDLE)
    assert withdrawal.look_at == 8.0 + DISCONNECT
    assert withdrawal.advance(now=13.0, in_flight=1, connections=1) == (WithdrawalAct.CUT, WithdrawalAct.ANSWER)


def test_tunnels_that_are_not_to_be_told_are_cut_with_the_rest():
    """Without seconds to leave in."""
    withdrawal = Withdrawal(deadline=8.0)
    assert withdrawal.look_at == 8.0
    assert withdrawal.advance(now=7.9, in_flight=1, connections=1) == ()
    assert withdrawal.advance(now=8.0, in_flight=1, connections=1) == (WithdrawalAct.CUT, WithdrawalAct.CLOSE_IDLE)


def test_without_time_everything_is_cut_at_once():
    """A deadline of now."""
    withdrawal = Withdrawal(deadline=5.0)
    assert withdrawal.advance(now=5.0, in_flight=1, connections=1) == (WithdrawalAct.CUT, WithdrawalAct.CLOSE_IDLE)


class WithdrawalMachine(RuleBasedStateMachine):
    """A backend from which nothing is claimed any more, under every order of ends and of time."""

    @initialize(
        in_flight=st.integers(0, 3),
        idle=st.integers(0, 2),
        seconds=st.sampled_from([0.0, 1.0, 8.0]),
        share=st.sampled_from([0.0, 0.25]),
    )
    def begin(self, in_flight: int, idle: int, seconds: float, share: float) -> None:
        self.now, self.deadline = 100.0, 100.0 + seconds
        self.in_flight, self.idle, self.stubborn = in_flight, idle, 0
        self.answers = self.parted = self.cuts = 0
        self.withdrawal = Withdrawal(deadline=self.deadline, leave_within=seconds * share)
        self.look()

    def look(self) -> None:
        before = self.withdrawal.stage
        acts = self.withdrawal.advance(
            now=self.now, in_flight=self.in_flight, connections=self.in_flight + self.idle + self.stubborn
        )
        changed = False
        for act in acts:
            match act:
                case WithdrawalAct.PART_TUNNELS:
                    self.parted += 1
                    assert self.now < self.deadline
                case WithdrawalAct.CUT:
                    self.cuts += 1
                    assert self.now >= self.deadline or not self.in_flight, "nothing is cut before the deadline"
                    changed = bool(self.in_flight)
                    self.in_flight = 0
                case WithdrawalAct.CLOSE_IDLE:
                    changed = changed or bool(self.idle)
                    self.idle = 0
                case WithdrawalAct.ANSWER:
                    self.answers += 1
                    assert not self.in_flight
                    assert before is not WithdrawalStage.RELEASED
        if changed:
            self.look()  # as whoever obeys is told of what ended by that

    @rule()
    def an_exchange_ends(self) -> None:
        if self.in_flight:
            self.in_flight -= 1
            self.look()

    @rule()
    def an_exchange_ends_and_leaves_a_connection(self) -> None:
        if self.in_flight:
            self.in_flight -= 1
            self.stubborn += 1
            self.look()

    @rule()
    def a_connection_ends(self) -> None:
        if self.stubborn:
            self.stubborn -= 1
            self.look()

    @rule(seconds=st.sampled_from([0.5, 2.0, 6.0]))
    def time_passes(self, seconds: float) -> None:
        until = self.now + seconds
        while self.withdrawal.look_at <= until:
            self.now = max(self.now, self.withdrawal.look_at)
            self.look()
        self.now = until

    @rule()
    def somebody_looks_for_no_reason(self) -> None:
        self.look()

    @invariant()
    def it_is_answered_once_and_when_nothing_is_left(self) -> None:
        left = self.in_flight + self.idle + self.stubborn
        assert self.answers <= 1
        assert self.answers == (self.withdrawal.stage is WithdrawalStage.RELEASED)
        if not left:
            assert self.answers == 1
        if self.now >= self.deadline + DISCONNECT:
            assert self.answers == 1, "no connection keeps it for ever"
        assert self.withdrawal.stage is WithdrawalStage.RELEASED or self.withdrawal.look_at > self.now

    @invariant()
    def tunnels_are_told_once(self) -> None:
        assert self.parted <= 1


TestWithdrawal = WithdrawalMachine.TestCase
