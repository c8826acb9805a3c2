"""A pool under every order of calls that Hypothesis can think of."""

from __future__ import annotations

from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hotswap.core.address import TcpAddress
from hotswap.core.pool.backend import Backend
from hotswap.core.pool.events import BackendDrained, NothingExpected
from hotswap.core.pool.lifecycle import TRANSITIONS, BackendState, Health
from hotswap.core.pool.outlook import Outlook
from hotswap.core.strategy import Balance
from tests.support.joined_pool import JoinedPool


class PoolMachine(RuleBasedStateMachine):
    """Calls in any order; beside them a ledger that is kept by hand."""

    @initialize(
        balance=st.sampled_from(Balance),
        size=st.integers(1, 3),
        supervised=st.booleans(),
        limit=st.sampled_from([0, 1, 2]),
    )
    def create(self, balance: Balance, size: int, supervised: bool, limit: int) -> None:
        self.pool = JoinedPool(name="web", balance=balance, size=size, supervised=supervised, max_in_flight=limit)
        self.ledger: Counter[Backend] = Counter()
        self.refused: tuple[int, int] | None = None
        self.believed_hopeless = self.pool.outlook() is Outlook.HOPELESS
        self.pool.observe(self.hear)

    def hear(self, event: object) -> None:
        match event:
            case BackendDrained(backend):
                assert backend.state is BackendState.DRAINING
                assert self.pool.in_flight(backend) == 0
            case NothingExpected():
                self.believed_hopeless = True
            case _:
                pass

    @rule(data=st.data(), state=st.sampled_from([BackendState.STARTING, BackendState.READY]))
    def add(self, data: st.DataObject, state: BackendState) -> None:
        slot = data.draw(st.integers(0, self.pool.size - 1))
        generation = data.draw(st.integers(1, 2))
        address = TcpAddress("127.0.0.1", 1)
        self.pool.add(slot=slot, generation=generation, address=address, state=state, now=0.0)

    @precondition(lambda self: self.pool.backends)
    @rule(data=st.data())
    def move(self, data: st.DataObject) -> None:
        backend = data.draw(st.sampled_from(self.pool.backends))
        state = data.draw(st.sampled_from([*TRANSITIONS[backend.state], backend.state]))
        if state is not backend.state:
            self.pool.move(backend, state, now=0.0)

    @precondition(lambda self: self.pool.backends)
    @rule(data=st.data(), health=st.sampled_from(Health))
    def judge(self, data: st.DataObject, health: Health) -> None:
        self.pool.set_health(data.draw(st.sampled_from(self.pool.backends)), health)

    @precondition(lambda self: self.pool.backends)
    @rule(data=st.data(), seconds=st.sampled_from([0, 1.5]))
    def eject(self, data: st.DataObject, seconds: float) -> None:
        self.pool.eject(data.draw(st.sampled_from(self.pool.backends)), seconds)

    @precondition(lambda self: self.pool.backends)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        self.pool.remove(data.draw(st.sampled_from(self.pool.backends)))

    @rule(data=st.data())
    def claim(self, data: st.DataObject) -> None:
        ids = [backend.id for backend in self.pool.backends]
        excluding = data.draw(st.sets(st.sampled_from(ids), max_size=1)) if ids else set()
        before = self.pool.outlook()
        backend = self.pool.claim(excluding)
        if backend is None:
            assert excluding or before is not Outlook.CLAIMABLE
            if not excluding:
                self.refused = self.news
        else:
            assert before is Outlook.CLAIMABLE
            assert backend.id not in excluding
            assert not self.pool.paused
            assert backend.state is BackendState.READY
            assert backend.health is Health.HEALTHY
            others = [other for other in self.pool.backends if other.claimable and not other.ejected]
            assert not backend.ejected or not others
            self.ledger[backend] += 1

    @precondition(lambda self: any(self.ledger.values()))
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        claimed = sorted((b for b, number in self.ledger.items() if number), key=lambda b: b.id)
        backend = data.draw(st.sampled_from(claimed))
        self.ledger[backend] -= 1
        self.pool.release(backend)

    @rule(verb=st.sampled_from(["pause", "resume", "lock", "unlock", "announce"]), data=st.data())
    def command(self, verb: str, data: st.DataObject) -> None:
        slot = data.draw(st.integers(0, self.pool.size - 1))
        match verb:
            case "lock":
                self.pool.lock("because")
            case "announce":
                self.pool.announce(slot)
            case _:
                getattr(self.pool, verb)()

    @rule(limit=st.sampled_from([0, 1, 2]), size=st.integers(1, 3), balance=st.sampled_from(Balance))
    def reconfigure(self, limit: int, size: int, balance: Balance) -> None:
        self.pool.reconfigure(balance=balance, size=size, max_in_flight=limit)

    @invariant()
    def counts_agree_with_the_ledger(self) -> None:
        for backend, number in self.ledger.items():
            assert self.pool.in_flight(backend) == number

    @invariant()
    def claimable_is_ready_and_healthy(self) -> None:
        for backend in self.pool.backends:
            is_ready = backend.state is BackendState.READY and backend.health is Health.HEALTHY
            assert backend.claimable is is_ready

    @invariant()
    def the_outlook_says_what_a_claim_would_find(self) -> None:
        claimable_ones = [backend for backend in self.pool.backends if backend.claimable]
        preferred = [backend for backend in claimable_ones if not backend.ejected]
        room = [
            backend
            for backend in preferred or claimable_ones
            if self.pool.max_in_flight == 0 or self.pool.in_flight(backend) < self.pool.max_in_flight
        ]
        claimable = bool(room) and not self.pool.paused
        assert (self.pool.outlook() is Outlook.CLAIMABLE) is claimable

    @invariant()
    def whoever_found_nothing_is_told_when_there_is_something(self) -> None:
        if self.refused == self.news:
            assert self.pool.outlook() is not Outlook.CLAIMABLE

    @property
    def news(self) -> tuple[int, int]:
        """What tells those who wait: another view, or room."""
        return self.pool.claims.view.version, self.pool.rooms

    @invariant()
    def the_loss_of_hope_is_told(self) -> None:
        if self.pool.outlook() is Outlook.HOPELESS:
            assert self.believed_hopeless
        else:
            self.believed_hopeless = False

    @invariant()
    def a_lost_slot_has_nothing_that_serves(self) -> None:
        assert not self.pool.lost_slots() & self.pool.ready_slots()


TestPool = PoolMachine.TestCase
