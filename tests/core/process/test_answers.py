"""What is answered to an order in each phase: every pair, against the flags that the answers were once made of."""

from __future__ import annotations

from itertools import product

import pytest

from hotswap.core.errors import RefusalCode
from hotswap.core.process.answers import ANSWERS, Answer, Verb, refuse
from hotswap.core.process.phases import STOPPING, Phase

P = Phase
SHUT, TAKEN, EARLY = RefusalCode.SHUTTING_DOWN, RefusalCode.TAKEOVER_IN_PROGRESS, RefusalCode.NOT_READY

REPLACED = {P.BEING_REPLACED, P.HANDED_OVER, P.DEPARTING, P.DEPARTED, P.STOPPING_REPLACED, P.STOPPING_DEPARTING}
ON_TRIAL = {P.ON_TRIAL, P.STOPPING_ON_TRIAL}
TAKEN_OVER = REPLACED | ON_TRIAL
UNBORN = {P.STARTING, P.SUCCEEDING}


def expected(phase: Phase, verb: Verb) -> Answer | RefusalCode:
    """Say it as rules, in the order of the contract."""
    match verb:
        case Verb.STOP:
            return Answer.AT_ONCE if phase in STOPPING else Answer.DO
        case Verb.OPERATE:
            return TAKEN if phase in TAKEN_OVER else Answer.DO
        case Verb.SIGUSR2 if phase in (P.DEPARTING, P.STOPPING_DEPARTING):
            return Answer.PASS_ON
        case Verb.SIGHUP if phase in TAKEN_OVER or phase is P.SUCCEEDING:
            return Answer.WAIT
    if phase in STOPPING:
        return SHUT
    if phase in TAKEN_OVER:
        return TAKEN
    if phase in UNBORN or (verb is Verb.TAKEOVER and phase is P.BOOTING):
        return EARLY
    return Answer.DO


@pytest.mark.parametrize(("phase", "verb"), list(product(Phase, Verb)))
def test_every_phase_answers_every_verb(phase: Phase, verb: Verb) -> None:
    """As the rules have it; a code is a refusal with words of its own, and nothing else is."""
    answer = ANSWERS[phase][verb]
    assert answer == expected(phase, verb)
    refused = refuse(phase, verb)
    if isinstance(answer, RefusalCode):
        assert refused is not None
        assert refused.code is answer
        assert refused.detail
    else:
        assert refused is None
