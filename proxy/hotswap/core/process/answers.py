"""What is answered to an order in each phase of the process: done, passed on, put off or refused.

A signal has no answer, so where an order of somebody who waits for one is refused because of a takeover, the same
order by signal is passed on to the process that will have everything, or done as soon as that is known.

What is refused for another reason than the phase is in `hotswap.core.refusal`; the codes stand in the order of
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
    WAIT = "done once it is known which process has everything, by that process"
    """Passed on at once to the other process, if that is to have everything."""
    AT_ONCE = "done at once"


Answers = Mapping[Verb, Answer | RefusalCode]

_DO, _WAIT = Answer.DO, Answer.WAIT
_SHUT, _TAKEN, _EARLY = RefusalCode.SHUTTING_DOWN, RefusalCode.TAKEOVER_IN_PROGRESS, RefusalCode.NOT_READY


def _answers(
    reload: Answer | RefusalCode,
    *,
    usr2: Answer | RefusalCode | None = None,
    hup: Answer | RefusalCode | None = None,
    operate: Answer | RefusalCode,
    takeover: Answer | RefusalCode,
    stop: Answer = _DO,
) -> Answers:
    """Give the answers of a phase; a signal is answered as `reload` is, unless it says otherwise."""
    return MappingProxyType(
        {
            Verb.RELOAD: reload,
            Verb.SIGUSR2: usr2 or reload,
            Verb.SIGHUP: hup or reload,
            Verb.OPERATE: operate,
            Verb.TAKEOVER: takeover,
            Verb.STOP: stop,
        }
    )


_ON = Answer.PASS_ON
_NOW = Answer.AT_ONCE

ANSWERS: Final[Mapping[Phase, Answers]] = MappingProxyType(
    {
        # Pools are named by their verbs, and before there are any each is unknown.
        Phase.STARTING: _answers(_EARLY, operate=_DO, takeover=_EARLY),
        Phase.BOOTING: _answers(_DO, operate=_DO, takeover=_EARLY),
        Phase.SERVING: _answers(_DO, operate=_DO, takeover=_DO),
        Phase.SUCCEEDING: _answers(_EARLY, hup=_WAIT, operate=_DO, takeover=_EARLY),
        Phase.ON_TRIAL: _answers(_TAKEN, hup=_WAIT, operate=_TAKEN, takeover=_TAKEN),
        Phase.BEING_REPLACED: _answers(_TAKEN, hup=_WAIT, operate=_TAKEN, takeover=_TAKEN),
        Phase.HANDED_OVER: _answers(_TAKEN, hup=_WAIT, operate=_TAKEN, takeover=_TAKEN),
        Phase.DEPARTING: _answers(_TAKEN, usr2=_ON, hup=_WAIT, operate=_TAKEN, takeover=_TAKEN),
        Phase.DEPARTED: _answers(_TAKEN, hup=_WAIT, operate=_TAKEN, takeover=_TAKEN),
        Phase.STOPPING: _answers(_SHUT, operate=_DO, takeover=_SHUT, stop=_NOW),
        Phase.STOPPING_ON_TRIAL: _answers(_SHUT, hup=_WAIT, operate=_TAKEN, takeover=_SHUT, stop=_NOW),
        Phase.STOPPING_REPLACED: _answers(_SHUT, hup=_WAIT, operate=_TAKEN, takeover=_SHUT, stop=_NOW),
        Phase.STOPPING_DEPARTING: _answers(_SHUT, usr2=_ON, hup=_WAIT, operate=_TAKEN, takeover=_SHUT, stop=_NOW),
        Phase.STOPPED: _answers(_SHUT, operate=_DO, takeover=_SHUT, stop=_NOW),
    }
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


def refuse(phase: Phase, verb: Verb) -> Refused | None:
    """Give the refusal of an order because of the phase; None when it is not refused."""
    answer = ANSWERS[phase][verb]
    return Refused(answer, DETAILS[answer], {}) if isinstance(answer, RefusalCode) else None
