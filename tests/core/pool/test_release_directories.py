"""Directories of releases: which are asked for files, and in which order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hotswap.core.address import TcpAddress
from hotswap.core.identity import BackendId
from hotswap.core.pool.backend import Backend
from hotswap.core.pool.lifecycle import TRANSITIONS, BackendState, Health
from hotswap.core.pool.pool import Pool
from hotswap.core.pool.release_directories import BEFORE, ReleaseDirectories
from hotswap.core.pool.view import PoolView
from hotswap.core.strategy import Balance

ADDRESS = TcpAddress("127.0.0.1", 1)
SERVING = (BackendState.READY, BackendState.DRAINING)


def backend(release: str, generation: int, state: BackendState = BackendState.READY) -> Backend:
    """One of a release."""
    return Backend(
        id=BackendId(generation),
        pool="web",
        slot=0,
        generation=generation,
        address=ADDRESS,
        state=state,
        health=Health.HEALTHY,
        directory=release,
    )


def asked(directories: ReleaseDirectories, *backends: Backend) -> str:
    """What is asked when these are the backends, as one word."""
    directories.update(backends)
    return "".join(directories.asked)


def deploy(directories: ReleaseDirectories, before: Backend, after: Backend) -> str:
    """A rollout that is done, and what is asked in the middle of it and afterwards."""
    return f"{asked(directories, before, after)} {asked(directories, after)}"


def test_those_that_serve_come_first_by_generation_and_two_before_follow():
    """Over four deploys, each with its own directory."""
    directories = ReleaseDirectories("a")
    assert asked(directories, backend("a", 1)) == "a"
    assert deploy(directories, backend("a", 1), backend("b", 2)) == "ba ba"
    assert deploy(directories, backend("b", 2), backend("c", 3)) == "cba cba"
    assert deploy(directories, backend("c", 3), backend("d", 4)) == "dcba dcb"
    assert deploy(directories, backend("d", 4), backend("e", 5)) == "edcb edc"


def test_a_release_is_asked_for_as_long_as_it_drains():
    """Its pages are still being rendered; and then for two releases more."""
    directories = ReleaseDirectories()
    draining = backend("a", 1, BackendState.DRAINING)
    assert asked(directories, draining, backend("b", 2)) == "ba"
    assert asked(directories, draining, backend("c", 3)) == "cab"
    assert asked(directories, draining, backend("d", 4)) == "dacb"
    assert asked(directories, backend("d", 4)) == "dac"


def test_what_only_starts_or_has_failed_is_not_asked():
    """Nobody has seen a page of it."""
    directories = ReleaseDirectories("a")
    for state in (BackendState.STARTING, BackendState.FAILED, BackendState.STOPPING, BackendState.STOPPED):
        assert asked(directories, backend("a", 1), backend("b", 2, state)) == "a", state


def test_after_a_rollback_the_release_that_was_taken_back_is_the_first_of_the_two_before():
    """Visitors have seen its pages."""
    directories = ReleaseDirectories("0")
    assert deploy(directories, backend("0", 1), backend("a", 2)) == "a0 a0"
    assert asked(directories, backend("a", 2), backend("b", 3)) == "ba0"
    assert asked(directories, backend("a", 2)) == "ab0"
    assert deploy(directories, backend("a", 2), backend("c", 4)) == "cab0 cab"


def test_a_directory_counts_once_whatever_its_generations():
    """A deploy in place, a respawn, a recycled backend."""
    directories = ReleaseDirectories("a")
    assert asked(directories, backend("a", 1), backend("a", 2), backend("b", 3)) == "ba"
    assert asked(directories, backend("a", 4), backend("b", 3)) == "ab"


@pytest.mark.parametrize("state", [BackendState.BACKOFF, BackendState.STARTING])
def test_a_crash_forgets_nobody(state):
    """Neither that of one slot of several in the middle of a rollout, nor of all there are."""
    directories = ReleaseDirectories("cba")
    assert asked(directories, backend("c", 3, state)) == "cba"
    assert asked(directories, backend("c", 3, state), backend("d", 4)) == "dcba"
    assert asked(directories) == "dcba"
    assert asked(directories, backend("c", 3), backend("d", 4)) == "dcba"
    assert asked(directories, backend("d", 4)) == "dcb"


def test_backends_without_a_directory_change_nothing():
    """Addresses that something else runs, and those of which older code told."""
    directories = ReleaseDirectories("ab")
    assert asked(directories, backend("", 7)) == "ab"


@given(st.lists(st.sampled_from("abc")))
def test_what_is_known_from_before_stays_in_its_order(known):
    """Each once."""
    directories = ReleaseDirectories(known)
    assert list(directories.asked) == sorted(set(known), key=known.index)


class Deploys(RuleBasedStateMachine):
    """A pool under any order of starts and ends, seen through its views."""

    @initialize()
    def create(self) -> None:
        self.pool = Pool(name="web", balance=Balance.ROUND_ROBIN, size=3, supervised=True)
        self.views: list[PoolView] = []
        self.releases: dict[BackendId, str] = {}
        self.before: tuple[str, ...] = ()
        self.pool.publish_to(self.views.append)

    @rule(slot=st.integers(0, 2), generation=st.integers(1, 9), release=st.sampled_from("abcdef"))
    def start(self, slot: int, generation: int, release: str) -> None:
        one = self.pool.add(slot=slot, generation=generation, address=ADDRESS, now=0.0, directory=release)
        self.releases[one.id] = release

    @precondition(lambda self: self.pool.backends)
    @rule(data=st.data())
    def move(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(self.pool.backends))
        if TRANSITIONS[one.state]:
            self.pool.move(one, data.draw(st.sampled_from(sorted(TRANSITIONS[one.state]))), now=0.0)
            self.pool.set_health(one, Health.HEALTHY)

    @precondition(lambda self: self.pool.backends)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        self.pool.remove(data.draw(st.sampled_from(self.pool.backends)))

    @invariant()
    def every_view_has_what_serves_first_and_is_bounded(self) -> None:
        for view in self.views:
            asked_now = view.directories
            assert len(set(asked_now)) == len(asked_now)
            # What may be claimed is asked for already.
            claimable = {self.releases[one.id] for one in view.backends if one.claimable}
            assert claimable <= set(asked_now)
            serving = {self.releases[one.id] for one in view.backends if one.state in SERVING}
            if serving:
                assert set(asked_now[: len(serving)]) == serving
                assert len(asked_now) <= len(view.backends) + BEFORE
            else:
                assert asked_now == self.before
            self.before = asked_now
        self.views.clear()


TestDeploys = Deploys.TestCase
