"""The new side of a takeover as a table: one row a transition, and a deadline for each state.

| state | what is going on |
|---|---|
| `greeting` | we have said who we are |
| `listeners`, `backends` | we receive them, and acknowledge each |
| `preparing` | we bind what is new and check every backend ourselves; nothing is ours yet |
| `prepared` | we have everything; the old side has the last word |
| `orphaned` | the old side died when we had received everything; we finish our checks, and serve alone |
| `probation` | we accept and the backends are ours; the old side could still take everything back |
| `owner` | everything is ours; the old side drains its clients |
| `alone` | the old side is gone, or nothing of it is left |
| `left` | we end, and touch nothing that we were given |

The death of the old side is not the same as the end of the channel. When it *dies* and we have everything, nobody
else is left to serve, so we do, once we have checked it; before that we have too little, and leave. When it only
closes the channel before the commit, it has given us up, and we leave. After the commit we stay whatever is said or
not said: the old side takes nothing back before it has ended our process, so there is nothing that we would have to
give up.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from hotswap.core.state_machine import Machine, Row, StateTable, make_table


class NewState(StrEnum):
    """Where the new side is."""

    GREETING = "greeting"
    LISTENERS = "listeners"
    BACKENDS = "backends"
    PREPARING = "preparing"
    PREPARED = "prepared"
    ORPHANED = "orphaned"
    PROBATION = "probation"
    OWNER = "owner"
    ALONE = "alone"
    LEFT = "left"


class NewEvent(StrEnum):
    """What happens to the new side."""

    WELCOMED = "welcomed"
    REFUSED = "refused"
    LISTENER_RECEIVED = "listener received"
    STATE_RECEIVED = "state received"
    BACKEND_RECEIVED = "backend received"
    SET_COMPLETE = "everything received"
    PREPARED = "prepared"
    FAILED = "cannot take over"
    COMMIT_RECEIVED = "commit received"
    RELEASED_RECEIVED = "released received"
    BYE_RECEIVED = "bye received"
    PEER_DIED = "old process died"
    CHANNEL_BROKEN = "channel broken"
    DEADLINE_PASSED = "deadline passed"


class NewCommand(StrEnum):
    """What the new side has to do."""

    SEND_ACK = "acknowledge"
    PREPARE = "prepare"
    SEND_NAK = "send nak"
    SEND_PREPARED = "send prepared"
    SERVE = "accept, and own the backends"
    SEND_LIVE = "send live"
    SETTLE = "guard the backends and fill empty slots"
    LEAVE = "leave"


_S, _E, _C = NewState, NewEvent, NewCommand


def _row(
    state: NewState, event: NewEvent, then: NewState, *commands: NewCommand, extends: bool = False
) -> Row[NewState, NewEvent, NewCommand]:
    return Row(state, event, then, commands, extends)


_RECEIVING = (_S.GREETING, _S.LISTENERS, _S.BACKENDS)
_UNDECIDED = (*_RECEIVING, _S.PREPARING, _S.PREPARED)

_ROWS = (
    _row(_S.GREETING, _E.WELCOMED, _S.LISTENERS),
    _row(_S.GREETING, _E.REFUSED, _S.LEFT, _C.LEAVE),
    _row(_S.LISTENERS, _E.LISTENER_RECEIVED, _S.LISTENERS, _C.SEND_ACK, extends=True),
    _row(_S.LISTENERS, _E.STATE_RECEIVED, _S.BACKENDS, _C.SEND_ACK),
    _row(_S.BACKENDS, _E.BACKEND_RECEIVED, _S.BACKENDS, _C.SEND_ACK, extends=True),
    _row(_S.BACKENDS, _E.SET_COMPLETE, _S.PREPARING, _C.PREPARE),
    *(_row(state, _E.FAILED, _S.LEFT, _C.SEND_NAK, _C.LEAVE) for state in _UNDECIDED),
    _row(_S.PREPARING, _E.PREPARED, _S.PREPARED, _C.SEND_PREPARED),
    _row(_S.PREPARED, _E.BACKEND_RECEIVED, _S.PREPARED, _C.SEND_ACK, extends=True),
    _row(_S.PREPARED, _E.COMMIT_RECEIVED, _S.PROBATION, _C.SERVE, _C.SEND_LIVE),
    _row(_S.PREPARED, _E.PEER_DIED, _S.ALONE, _C.SERVE, _C.SETTLE),
    *(_row(state, _E.CHANNEL_BROKEN, _S.LEFT, _C.LEAVE) for state in _UNDECIDED),
    *(_row(state, _E.DEADLINE_PASSED, _S.LEFT, _C.LEAVE) for state in _UNDECIDED),
    *(_row(state, _E.PEER_DIED, _S.LEFT, _C.LEAVE) for state in _RECEIVING),
    _row(_S.PREPARING, _E.PEER_DIED, _S.ORPHANED),
    _row(_S.ORPHANED, _E.PREPARED, _S.ALONE, _C.SERVE, _C.SETTLE),
    _row(_S.ORPHANED, _E.CHANNEL_BROKEN, _S.ORPHANED),
    _row(_S.ORPHANED, _E.FAILED, _S.LEFT, _C.LEAVE),
    _row(_S.ORPHANED, _E.DEADLINE_PASSED, _S.LEFT, _C.LEAVE),
    _row(_S.PROBATION, _E.RELEASED_RECEIVED, _S.OWNER, _C.SETTLE),
    _row(_S.PROBATION, _E.PEER_DIED, _S.ALONE, _C.SETTLE),
    # It lives and says nothing: it would have ended us before it took anything back.
    _row(_S.PROBATION, _E.CHANNEL_BROKEN, _S.PROBATION),
    _row(_S.PROBATION, _E.DEADLINE_PASSED, _S.OWNER, _C.SETTLE),
    # Its word was on its way when we had waited long enough.
    _row(_S.OWNER, _E.RELEASED_RECEIVED, _S.OWNER),
    # Nothing of it is left, even if its process stays as the stub that is the first of a container.
    _row(_S.OWNER, _E.BYE_RECEIVED, _S.ALONE),
    _row(_S.OWNER, _E.CHANNEL_BROKEN, _S.OWNER),
    _row(_S.OWNER, _E.PEER_DIED, _S.ALONE),
)

NEW_TABLE: StateTable[NewState, NewEvent, NewCommand] = make_table(_ROWS)
"""The rows by state and event."""

NEW_DEADLINES: Mapping[NewState, float] = MappingProxyType(
    {
        _S.GREETING: 15.0,
        _S.LISTENERS: 15.0,
        _S.BACKENDS: 15.0,
        _S.PREPARING: 600.0,
        _S.PREPARED: 30.0,
        _S.ORPHANED: 60.0,
        _S.PROBATION: 60.0,
    }
)
"""Seconds that a state may last; each thing that is received starts those of its state anew."""


def new_side(
    *, now: float, limits: Mapping[NewState, float] = MappingProxyType({})
) -> Machine[NewState, NewEvent, NewCommand]:
    """Begin a takeover on the new side, once it has said who it is; limits are seconds that states may last instead."""
    return Machine(
        "the new side of a takeover",
        NEW_TABLE,
        NewState.GREETING,
        failures=frozenset({NewState.LEFT}),
        deadlines=NEW_DEADLINES,
        limits=limits,
        now=now,
    )
