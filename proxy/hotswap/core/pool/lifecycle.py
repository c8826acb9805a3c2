"""States and transitions of a backend, as a table.

Two axes, never one. The *state* says what a backend is for: it starts, serves, drains, stops. The *health*
says what the probes found. They meet in one place only, `Backend.claimable` of `hotswap.core.pool` (ready and
healthy), so that a probe that passes can never bring a draining backend back.

`TRANSITIONS` has one row for each legal change of state, with the reason for it as a label; what has no row
is illegal. One change is missing on purpose, `ready` to `stopping`: nothing is stopped that has not drained first, and
who is in a hurry gives the drain no time. `draining` to `ready` is a verb of its own, readmit.

`backoff` is the state of a slot between two processes; a backend leaves the pool before its slot gets there,
or stays in it and starts anew: both ways are in the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class BackendState(StrEnum):
    """State of a backend in its life; health is a second axis."""

    STARTING = "starting"
    """Spawned, not yet ready."""
    READY = "ready"
    """In rotation, as far as its health allows."""
    DRAINING = "draining"
    """Nothing new is claimed for it; what is in flight goes on."""
    STOPPING = "stopping"
    """Told to go."""
    STOPPED = "stopped"
    """Gone."""
    FAILED = "failed"
    """Did not become ready; its process may still have to be reaped."""
    BACKOFF = "backoff"
    """Between a crash and the next start."""


class Health(StrEnum):
    """Health of a backend, as probes found it."""

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


class IllegalTransition(Exception):
    """A transition without a row in `TRANSITIONS`: a fault of the caller, never of a backend."""

    def __init__(self, before: BackendState, after: BackendState) -> None:
        super().__init__(f"a backend cannot go from {before} to {after}")


_S = BackendState

TRANSITIONS: Mapping[BackendState, Mapping[BackendState, str]] = MappingProxyType(
    {
        _S.STARTING: {
            _S.READY: "became ready",
            _S.FAILED: "exited, cannot serve, or not ready in time",
            _S.STOPPING: "no longer wanted",
        },
        _S.READY: {
            _S.DRAINING: "drained",
            _S.STOPPED: "crashed",
        },
        _S.DRAINING: {
            _S.READY: "readmitted",
            _S.STOPPING: "nothing in flight, or deadline over",
            _S.STOPPED: "crashed",
        },
        _S.STOPPING: {
            _S.STOPPED: "exited or killed",
        },
        _S.FAILED: {
            _S.STOPPED: "reaped",
            _S.BACKOFF: "reaped, will be tried again",
        },
        _S.STOPPED: {
            _S.BACKOFF: "will be respawned",
        },
        _S.BACKOFF: {
            _S.STARTING: "respawned",
            _S.STOPPED: "given up",
        },
    }
)
"""From state, to state, why. A missing row is the illegal case."""


def check_transition(before: BackendState, after: BackendState) -> None:
    """Raise unless a transition is legal.

    Raises:
        IllegalTransition: the table has no such row.
    """
    if after not in TRANSITIONS[before]:
        raise IllegalTransition(before, after)
