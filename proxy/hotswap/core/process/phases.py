"""Phases of the proxy process, as a table: one row a transition.

| phase | what is going on |
|---|---|
| `starting` | nothing is accepted yet |
| `booting` | listeners accept, and requests are held until the pools have come up |
| `serving` | everything is up |
| `succeeding` | everything is received from the process before this one, and nothing of it is ours |
| `on-trial` | taken over: we accept and own the backends; everything could still return |
| `being-replaced` | another process is taking over, and has nothing for its own yet |
| `handed-over` | it owns the backends, and accepts or is about to; everything could still return |
| `departing` | another process has everything for good; our clients finish |
| `departed` | no client is left; the backends that stayed ours end |
| `stopping` | told to stop: clients finish, backends end |
| `stopping-on-trial`, `stopping-replaced` | told to stop before it was known which process has everything |
| `stopping-departing` | told to stop when another process had everything already: our clients are hurried |
| `stopped` | nothing is left |
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from hotswap.core.state_machine import Row, StateTable, make_table


class Phase(StrEnum):
    """Where the process is in its life."""

    STARTING = "starting"
    BOOTING = "booting"
    SERVING = "serving"
    SUCCEEDING = "succeeding"
    ON_TRIAL = "on-trial"
    BEING_REPLACED = "being-replaced"
    HANDED_OVER = "handed-over"
    DEPARTING = "departing"
    DEPARTED = "departed"
    STOPPING = "stopping"
    STOPPING_ON_TRIAL = "stopping-on-trial"
    STOPPING_REPLACED = "stopping-replaced"
    STOPPING_DEPARTING = "stopping-departing"
    STOPPED = "stopped"


class PhaseEvent(StrEnum):
    """What moves the process on."""

    ACCEPTED = "listeners accept"
    BOOTED = "pools are up"
    SETTLED = "nothing can return any more"
    TAKEOVER_BEGUN = "takeover begun"
    TAKEOVER_COMMITTED = "backends handed over"
    TAKEOVER_RETURNED = "takeover given up"
    TAKEOVER_RELEASED = "new process has everything"
    TAKEOVER_ENDED = "last client gone"
    STOP_ASKED = "stop asked"
    START_FAILED = "cannot start"
    ENDED = "all ended"


_P, _E = Phase, PhaseEvent

_WAYS: Final[Mapping[Phase, Mapping[PhaseEvent, Phase]]] = {
    # The first process of a proxy.
    _P.STARTING: {_E.ACCEPTED: _P.BOOTING, _E.START_FAILED: _P.STOPPED, _E.STOP_ASKED: _P.STOPPING},
    _P.BOOTING: {_E.BOOTED: _P.SERVING, _E.STOP_ASKED: _P.STOPPING},
    # One that takes over. The process before it had booted, so there is no boot to wait for.
    _P.SUCCEEDING: {_E.ACCEPTED: _P.ON_TRIAL, _E.START_FAILED: _P.STOPPED, _E.STOP_ASKED: _P.STOPPING},
    _P.ON_TRIAL: {_E.SETTLED: _P.SERVING, _E.STOP_ASKED: _P.STOPPING_ON_TRIAL},
    _P.SERVING: {_E.TAKEOVER_BEGUN: _P.BEING_REPLACED, _E.STOP_ASKED: _P.STOPPING},
    # One that is taken over from.
    _P.BEING_REPLACED: {
        _E.TAKEOVER_RETURNED: _P.SERVING,
        _E.TAKEOVER_COMMITTED: _P.HANDED_OVER,
        _E.STOP_ASKED: _P.STOPPING_REPLACED,
    },
    _P.HANDED_OVER: {
        _E.TAKEOVER_RETURNED: _P.SERVING,
        _E.TAKEOVER_RELEASED: _P.DEPARTING,
        _E.STOP_ASKED: _P.STOPPING_REPLACED,
    },
    _P.DEPARTING: {_E.TAKEOVER_ENDED: _P.DEPARTED, _E.STOP_ASKED: _P.STOPPING_DEPARTING},
    _P.DEPARTED: {_E.ENDED: _P.STOPPED, _E.STOP_ASKED: _P.STOPPING_DEPARTING},
    # The end. A stop that is asked for again ends what goes on at once, which is no other phase.
    _P.STOPPING: {
        _E.ENDED: _P.STOPPED,
        _E.STOP_ASKED: _P.STOPPING,
        # What the boot had under way when the stop came.
        _E.ACCEPTED: _P.STOPPING,
        _E.SETTLED: _P.STOPPING,
        _E.START_FAILED: _P.STOPPED,
    },
    _P.STOPPING_ON_TRIAL: {
        _E.SETTLED: _P.STOPPING,
        _E.STOP_ASKED: _P.STOPPING_ON_TRIAL,
        _E.ENDED: _P.STOPPED,
    },
    _P.STOPPING_REPLACED: {
        _E.TAKEOVER_COMMITTED: _P.STOPPING_REPLACED,
        _E.TAKEOVER_RETURNED: _P.STOPPING,
        _E.TAKEOVER_RELEASED: _P.STOPPING_DEPARTING,
        _E.STOP_ASKED: _P.STOPPING_REPLACED,
        _E.ENDED: _P.STOPPED,
    },
    _P.STOPPING_DEPARTING: {
        _E.TAKEOVER_ENDED: _P.STOPPING_DEPARTING,
        _E.STOP_ASKED: _P.STOPPING_DEPARTING,
        _E.ENDED: _P.STOPPED,
    },
    # Tasks that are being ended may still have their last word.
    _P.STOPPED: {
        event: _P.STOPPED for event in _E if event not in (_E.BOOTED, _E.TAKEOVER_BEGUN, _E.START_FAILED, _E.ENDED)
    },
}

PHASE_TABLE: Final[StateTable[Phase, PhaseEvent, str]] = make_table(
    Row(phase, event, then) for phase, ways in _WAYS.items() for event, then in ways.items()
)
"""The rows by phase and event."""

PHASE_STARTS: Final = (_P.STARTING, _P.SUCCEEDING)
"""Where a process begins: the first of a proxy, and one that takes over."""

STOPPING: Final = frozenset(
    {_P.STOPPING, _P.STOPPING_ON_TRIAL, _P.STOPPING_REPLACED, _P.STOPPING_DEPARTING, _P.STOPPED}
)
"""The process was told to stop."""

ON_TRIAL: Final = frozenset({_P.ON_TRIAL, _P.STOPPING_ON_TRIAL})
"""Everything was taken over and could still return."""

BOOTING: Final = frozenset({_P.STARTING, _P.BOOTING, _P.SUCCEEDING})
"""The pools have not all come up yet."""

LENT: Final = frozenset({_P.HANDED_OVER, _P.DEPARTING, _P.DEPARTED, _P.STOPPING_REPLACED, _P.STOPPING_DEPARTING})
"""The backends are those of the process that takes over, or are about to be."""

READY: Final = frozenset(set(_P) - STOPPING - {_P.STARTING, _P.SUCCEEDING})
"""Listeners accept, here or in the process after this one, and nobody has told this one to stop."""
