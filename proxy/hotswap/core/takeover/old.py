"""The old side of a takeover as a table: one row a transition, and a deadline for each state.

| state | what is going on |
|---|---|
| `preflight` | the new code on disk is asked for its versions and checks the configuration |
| `greeting` | the new process is starting; its first word is awaited |
| `listeners`, `state`, `backends` | each of these is handed over and has to be acknowledged |
| `preparing` | the new side binds what is new and checks every backend itself |
| `changes` | backends that became ready since are handed over, until there is none left |
| `committed` | the backends are the new side's; it has not said yet that it accepts |
| `probation` | both could accept, the new side does; if it dies, everything returns |
| `draining` | the new side owns everything; our clients finish |
| `aborting` | given up before anything changed; the new process is being ended |
| `returning` | given up after the commit; the new process must be gone before the backends are ours again |

Until `committed` we own every backend, from there to `returned` the new side does. We accept in every state
but `probation` and `draining`, and it is the new side's word that ends our accepting; so there is always
somebody who accepts. Backends return only when the new process is certainly gone; so no backend ever has two
owners.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from hotswap.core.state_machine import Machine, Row, StateTable, make_table


class OldState(StrEnum):
    """Where the old side is."""

    PREFLIGHT = "preflight"
    GREETING = "greeting"
    LISTENERS = "listeners"
    STATE = "state"
    BACKENDS = "backends"
    PREPARING = "preparing"
    CHANGES = "changes"
    COMMITTED = "committed"
    PROBATION = "probation"
    DRAINING = "draining"
    ABORTING = "aborting"
    RETURNING = "returning"
    REFUSED = "refused"
    ABORTED = "aborted"
    RETURNED = "returned"
    GONE = "gone"


class OldEvent(StrEnum):
    """What happens to the old side."""

    PREFLIGHT_PASSED = "preflight passed"
    PREFLIGHT_FAILED = "preflight failed"
    HELLO_ACCEPTED = "hello accepted"
    HELLO_REFUSED = "hello refused"
    ACKNOWLEDGED = "all of it acknowledged"
    MORE_READY = "more backends are ready"
    NAK_RECEIVED = "nak received"
    PROGRESS_RECEIVED = "progress received"
    PREPARED_RECEIVED = "prepared received"
    LIVE_RECEIVED = "live received"
    DRAINED = "last client gone"
    STOPPING_RECEIVED = "new process was told to stop"
    HURRY_RECEIVED = "hurry received"
    TERMINATE_RECEIVED = "terminate received"
    PEER_DIED = "new process died"
    PEER_SILENT = "new process silent"
    CHANNEL_BROKEN = "channel broken"
    DEADLINE_PASSED = "deadline passed"
    STOP_ASKED = "stop asked"


class OldCommand(StrEnum):
    """What the old side has to do."""

    SPAWN_NEW = "spawn the new process"
    SEND_WELCOME = "send welcome"
    SEND_REFUSE = "send refuse"
    SEND_LISTENERS = "send listeners"
    SEND_STATE = "send state"
    SEND_BACKENDS = "send backends"
    SEND_CHANGES = "send changes"
    LET_GO = "let the backends go"
    SEND_COMMIT = "send commit"
    STOP_ACCEPTING = "stop accepting"
    DRAIN_CLIENTS = "drain clients"
    ACCEPT_AGAIN = "accept again"
    TAKE_BACK = "take the backends back"
    KILL_NEW = "kill the new process"
    STOP_NEW = "ask the new process to stop"
    SEND_RELEASED = "send released"
    ASK_PATIENCE = "ask the service manager for time"
    TELL_MAINPID = "tell the service manager"
    CLOSE_LISTENERS = "close listeners"
    HURRY_CLIENTS = "hurry clients"
    CUT_CLIENTS = "cut clients"
    SEND_BYE = "send bye"
    REPORT_FAILURE = "report failure"
    REPORT_SUCCESS = "report success"
    REPORT_STOP = "report the stop"


_S, _E, _C = OldState, OldEvent, OldCommand


def _row(
    state: OldState, event: OldEvent, then: OldState, *commands: OldCommand, extends: bool = False
) -> Row[OldState, OldEvent, OldCommand]:
    return Row(state, event, then, commands, extends)


_PEER_BROKEN = (_E.NAK_RECEIVED, _E.CHANNEL_BROKEN, _E.DEADLINE_PASSED)
_HANDING = (_S.GREETING, _S.LISTENERS, _S.STATE, _S.BACKENDS, _S.PREPARING, _S.CHANGES)
# The new side says that it is ready as soon as it hears that it is released, and must be the main process by then.
_RELEASE = (_C.TELL_MAINPID, _C.SEND_RELEASED, _C.CLOSE_LISTENERS)

_ROWS = (
    # 0, 1: is it worth starting, and who has come?
    _row(_S.PREFLIGHT, _E.PREFLIGHT_PASSED, _S.GREETING, _C.SPAWN_NEW),
    _row(_S.PREFLIGHT, _E.PREFLIGHT_FAILED, _S.REFUSED, _C.REPORT_FAILURE),
    _row(_S.PREFLIGHT, _E.DEADLINE_PASSED, _S.REFUSED, _C.REPORT_FAILURE),
    _row(_S.PREFLIGHT, _E.STOP_ASKED, _S.REFUSED, _C.REPORT_FAILURE),
    # 2 to 5: everything is handed over, and we serve on.
    _row(_S.GREETING, _E.HELLO_ACCEPTED, _S.LISTENERS, _C.SEND_WELCOME, _C.SEND_LISTENERS),
    # It reads why and leaves; it is ended only when it does not.
    _row(_S.GREETING, _E.HELLO_REFUSED, _S.ABORTING, _C.SEND_REFUSE),
    _row(_S.LISTENERS, _E.ACKNOWLEDGED, _S.STATE, _C.SEND_STATE),
    _row(_S.STATE, _E.ACKNOWLEDGED, _S.BACKENDS, _C.SEND_BACKENDS),
    _row(_S.BACKENDS, _E.ACKNOWLEDGED, _S.PREPARING),
    # 6: the new side proves that it can.
    _row(_S.PREPARING, _E.PROGRESS_RECEIVED, _S.PREPARING, _C.ASK_PATIENCE, extends=True),
    _row(_S.PREPARING, _E.PREPARED_RECEIVED, _S.CHANGES, _C.SEND_CHANGES),
    # 7: what became ready meanwhile goes too; our hands are off the backends before the word is said.
    _row(_S.CHANGES, _E.MORE_READY, _S.CHANGES, _C.SEND_CHANGES),
    _row(_S.CHANGES, _E.ACKNOWLEDGED, _S.COMMITTED, _C.LET_GO, _C.SEND_COMMIT),
    # 8, 9: the new side accepts before we stop.
    _row(_S.COMMITTED, _E.LIVE_RECEIVED, _S.PROBATION, _C.STOP_ACCEPTING, _C.DRAIN_CLIENTS, _C.ASK_PATIENCE),
    _row(_S.PROBATION, _E.PROGRESS_RECEIVED, _S.PROBATION),
    # Given up while nothing has changed.
    *(_row(state, event, _S.ABORTING, _C.KILL_NEW) for state in _HANDING for event in (*_PEER_BROKEN, _E.STOP_ASKED)),
    *(_row(state, _E.PEER_DIED, _S.ABORTED, _C.REPORT_FAILURE) for state in _HANDING),
    _row(_S.ABORTING, _E.PEER_DIED, _S.ABORTED, _C.REPORT_FAILURE),
    _row(_S.ABORTING, _E.DEADLINE_PASSED, _S.ABORTING, _C.KILL_NEW, extends=True),
    # The new side failed after the commit: it must be gone before the backends are ours again.
    _row(_S.COMMITTED, _E.PEER_DIED, _S.RETURNED, _C.TAKE_BACK, _C.REPORT_FAILURE),
    *(_row(_S.COMMITTED, event, _S.RETURNING, _C.KILL_NEW) for event in (*_PEER_BROKEN, _E.STOP_ASKED)),
    _row(_S.PROBATION, _E.PEER_DIED, _S.RETURNED, _C.ACCEPT_AGAIN, _C.TAKE_BACK, _C.REPORT_FAILURE),
    *(
        _row(_S.PROBATION, event, _S.RETURNING, _C.ACCEPT_AGAIN, _C.KILL_NEW)
        for event in (_E.NAK_RECEIVED, _E.CHANNEL_BROKEN, _E.PEER_SILENT)
    ),
    _row(_S.RETURNING, _E.PEER_DIED, _S.RETURNED, _C.TAKE_BACK, _C.REPORT_FAILURE),
    _row(_S.RETURNING, _E.DEADLINE_PASSED, _S.RETURNING, _C.KILL_NEW, extends=True),
    # 10: probation is over.
    _row(_S.PROBATION, _E.DEADLINE_PASSED, _S.DRAINING, *_RELEASE, _C.REPORT_SUCCESS),
    # A stop means both, whichever was told; nothing returns after it.
    _row(_S.PROBATION, _E.STOP_ASKED, _S.DRAINING, *_RELEASE, _C.STOP_NEW, _C.HURRY_CLIENTS, _C.REPORT_STOP),
    _row(_S.PROBATION, _E.STOPPING_RECEIVED, _S.DRAINING, *_RELEASE, _C.HURRY_CLIENTS, _C.REPORT_STOP),
    # All our clients may be gone already; we stay, in case the new side dies.
    _row(_S.PROBATION, _E.DRAINED, _S.PROBATION),
    # 11, 12: the rest of our clients.
    _row(_S.DRAINING, _E.DRAINED, _S.GONE, _C.SEND_BYE),
    _row(_S.DRAINING, _E.DEADLINE_PASSED, _S.GONE, _C.CUT_CLIENTS, _C.SEND_BYE),
    # Nobody is left to serve beside us: end early, so that whoever supervises starts it all again.
    _row(_S.DRAINING, _E.PEER_DIED, _S.DRAINING, _C.HURRY_CLIENTS),
    _row(_S.DRAINING, _E.STOP_ASKED, _S.DRAINING, _C.HURRY_CLIENTS),
    _row(_S.DRAINING, _E.STOPPING_RECEIVED, _S.DRAINING, _C.HURRY_CLIENTS),
    _row(_S.DRAINING, _E.HURRY_RECEIVED, _S.DRAINING, _C.HURRY_CLIENTS),
    _row(_S.DRAINING, _E.TERMINATE_RECEIVED, _S.DRAINING, _C.CUT_CLIENTS),
    _row(_S.DRAINING, _E.CHANNEL_BROKEN, _S.DRAINING),
    # Sent before it heard that it was released.
    _row(_S.DRAINING, _E.PROGRESS_RECEIVED, _S.DRAINING),
    # What was on its way when we had given up already.
    *(
        _row(state, event, state)
        for state in (_S.ABORTING, _S.RETURNING)
        for event in (
            _E.HELLO_ACCEPTED,
            _E.HELLO_REFUSED,
            _E.ACKNOWLEDGED,
            _E.NAK_RECEIVED,
            _E.PROGRESS_RECEIVED,
            _E.PREPARED_RECEIVED,
            _E.LIVE_RECEIVED,
            _E.STOPPING_RECEIVED,
            _E.DRAINED,
            _E.CHANNEL_BROKEN,
            _E.STOP_ASKED,
        )
    ),
)

OLD_TABLE: StateTable[OldState, OldEvent, OldCommand] = make_table(_ROWS)
"""The rows by state and event."""

OLD_DEADLINES: Mapping[OldState, float] = MappingProxyType(
    {
        # An interpreter that imports a web framework on a busy machine needs its time.
        _S.PREFLIGHT: 30.0,
        _S.GREETING: 30.0,
        _S.LISTENERS: 10.0,
        _S.STATE: 10.0,
        _S.BACKENDS: 10.0,
        _S.PREPARING: 60.0,
        _S.CHANGES: 10.0,
        _S.COMMITTED: 5.0,
        _S.PROBATION: 10.0,
        _S.DRAINING: 330.0,
        _S.ABORTING: 5.0,
        _S.RETURNING: 5.0,
    }
)
"""Seconds that a state may last; each `PROGRESS` starts those of `preparing` anew."""

OLD_FAILURES = frozenset({_S.REFUSED, _S.ABORTING, _S.ABORTED, _S.RETURNING, _S.RETURNED})
"""The states of a takeover that was given up."""

OWNED_BY_US = frozenset(set(_S) - {_S.COMMITTED, _S.PROBATION, _S.DRAINING, _S.RETURNING, _S.GONE})
"""The states in which the backends are the old side's."""


def old_side(
    *, now: float, start: OldState = OldState.PREFLIGHT, limits: Mapping[OldState, float] = MappingProxyType({})
) -> Machine[OldState, OldEvent, OldCommand]:
    """Begin a takeover on the old side.

    Args:
        now: the time, in seconds.
        start: `greeting` when the new process has come by itself.
        limits: seconds that states may last, where that is not as the table says.
    """
    return Machine(
        "the old side of a takeover",
        OLD_TABLE,
        start,
        failures=OLD_FAILURES,
        deadlines=OLD_DEADLINES,
        limits=limits,
        now=now,
    )
