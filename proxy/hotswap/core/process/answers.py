"""What is answered to an order in each phase of the process: done, passed on, put off or refused.

A signal has no answer, so where an order of somebody who waits for one is refused because of a takeover, the same
order by signal is passed on to the process that will have everything, or done as soon as that is known.

What is refused for another reason than the phase is in `hotswap.core.rollout.refusal`; the codes stand in the order of
the contract, so where a takeover is refused for `not-ready` a rollout that is in progress is the answer before that.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from hotswap.core.errors import RefusalCode, Refused
from hotswap.core.process.phases import Phase


class Verb(StrEnum):
    """What is asked of the process."""

    RELOAD = "reload"
    """One pool or all, by somebody who waits for the answer; and what SIGHUP does, likewise."""
    SIGUSR2 = "SIGUSR2"
    SIGHUP = "SIGHUP"
    OPERATE = "drain, readmit, pause, resume, unlock"
    TAKEOVER = "takeover"
    STOP = "stop"
    """By SIGTERM, SIGINT or the admin API."""


class Answer(StrEnum):
    """What the process does about it, unless it is refused."""

    DO = "done"
    PASS_ON = "passed on"
    """To the process that has everything."""
    WAIT = "done by the process that goes on"
    """Once it is known which that is; told at once to the other one, if that is to have everything."""
    AT_ONCE = "done at once"


_DO, _ON, _WAIT, _NOW = Answer.DO, Answer.PASS_ON, Answer.WAIT, Answer.AT_ONCE
_SHUT, _TAKEN, _EARLY = RefusalCode.SHUTTING_DOWN, RefusalCode.TAKEOVER_IN_PROGRESS, RefusalCode.NOT_READY

_ANSWERS: Final[Mapping[Phase, tuple[Answer | RefusalCode, ...]]] = {
    # In the order of `Verb`. Pools are named by their verbs, and before there are any each is unknown.
    Phase.STARTING: (_EARLY, _EARLY, _EARLY, _DO, _EARLY, _DO),
    Phase.BOOTING: (_DO, _DO, _DO, _DO, _EARLY, _DO),
    Phase.SERVING: (_DO, _DO, _DO, _DO, _DO, _DO),
    Phase.SUCCEEDING: (_EARLY, _EARLY, _WAIT, _DO, _EARLY, _DO),
    Phase.ON_TRIAL: (_TAKEN, _TAKEN, _WAIT, _TAKEN, _TAKEN, _DO),
    Phase.BEING_REPLACED: (_TAKEN, _TAKEN, _WAIT, _TAKEN, _TAKEN, _DO),
    Phase.HANDED_OVER: (_TAKEN, _TAKEN, _WAIT, _TAKEN, _TAKEN, _DO),
    Phase.DEPARTING: (_TAKEN, _ON, _WAIT, _TAKEN, _TAKEN, _DO),
    Phase.DEPARTED: (_TAKEN, _TAKEN, _WAIT, _TAKEN, _TAKEN, _DO),
    Phase.STOPPING: (_SHUT, _SHUT, _SHUT, _DO, _SHUT, _NOW),
    Phase.STOPPING_ON_TRIAL: (_SHUT, _SHUT, _WAIT, _TAKEN, _SHUT, _NOW),
    Phase.STOPPING_REPLACED: (_SHUT, _SHUT, _WAIT, _TAKEN, _SHUT, _NOW),
    Phase.STOPPING_DEPARTING: (_SHUT, _ON, _WAIT, _TAKEN, _SHUT, _NOW),
    Phase.STOPPED: (_SHUT, _SHUT, _SHUT, _DO, _SHUT, _NOW),
}

ANSWERS: Final[Mapping[Phase, Mapping[Verb, Answer | RefusalCode]]] = MappingProxyType(
    {phase: MappingProxyType(dict(zip(Verb, row, strict=True))) for phase, row in _ANSWERS.items()}
)
"""The answer by phase and order; a code is a refusal."""

DETAILS: Final[Mapping[RefusalCode, str]] = MappingProxyType(
    {
        _SHUT: "the proxy is shutting down",
        _TAKEN: "a new proxy process is taking over; ask it afterwards",
        _EARLY: "the proxy is still starting",
    }
)
"""What is said with each of the codes."""


def refuse(phase: Phase, verb: Verb, state: Mapping[str, object] = MappingProxyType({})) -> Refused | None:
    """Give the refusal of an order because of the phase, with facts to show; None when it is not refused."""
    answer = ANSWERS[phase][verb]
    if not isinstance(answer, RefusalCode):
        return None
    again = verb is Verb.TAKEOVER and answer is _TAKEN
    return Refused(answer, "a new proxy process is taking over already" if again else DETAILS[answer], state)
