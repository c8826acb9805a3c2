"""The life of a backend: every pair of states, legal or not."""

from __future__ import annotations

from itertools import product

import pytest

from hotswap.core.pool.lifecycle import TRANSITIONS, BackendState, IllegalTransition, check_transition

LEGAL = {
    ("starting", "ready"),
    ("starting", "failed"),
    ("starting", "stopping"),
    ("ready", "draining"),
    ("ready", "stopped"),
    ("draining", "ready"),
    ("draining", "stopping"),
    ("draining", "stopped"),
    ("stopping", "stopped"),
    ("failed", "stopped"),
    ("failed", "backoff"),
    ("stopped", "backoff"),
    ("backoff", "starting"),
    ("backoff", "stopped"),
}
"""Written out a second time on purpose: a changed table must be a changed mind."""


@pytest.mark.parametrize(("before", "after"), list(product(BackendState, BackendState)))
def test_every_pair_of_states_is_legal_or_refused(before, after):
    """A row lets the change pass; without a row it raises and names both states."""
    if (before.value, after.value) in LEGAL:
        check_transition(before, after)
    else:
        with pytest.raises(IllegalTransition, match=f"from {before} to {after}"):
            check_transition(before, after)


def test_nothing_stops_without_having_drained():
    """The only way from serving to being told to go leads through the drain."""
    assert BackendState.STOPPING not in TRANSITIONS[BackendState.READY]


@pytest.mark.parametrize("state", BackendState)
def test_every_state_leads_to_stopped(state):
    """No backend can be caught in a state from which it never ends."""
    reached, new = set(), {state}
    while new:
        reached |= new
        new = {after for before in new for after in TRANSITIONS[before]} - reached
    assert BackendState.STOPPED in reached


def test_every_row_says_why():
    """The labels of the diagram."""
    assert all(why for rows in TRANSITIONS.values() for why in rows.values())
