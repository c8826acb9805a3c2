"""Which backends change hands: what is sent when, and what is whose in the end."""

from __future__ import annotations

import pytest

from hotswap.core.takeover.ledgers import AdoptionLedger, BackendMissing, HandingLedger


def test_what_was_announced_is_sent_first_and_everything_that_serves_by_then_later() -> None:
    """Nothing twice, and nothing unannounced with the first, at whose end the new side goes on."""
    ledger: HandingLedger[str] = HandingLedger()
    assert ledger.announce(["a", "b"]) == ledger.announced == ("a", "b")
    for one in ledger.announced:
        ledger.note_sent(one)
    assert ledger.due(["b", "c"]) == ("c",)
    ledger.note_sent("c")
    assert ledger.due(["b", "c"]) == ()


def test_what_goes_was_sent_and_serves() -> None:
    """What has died since is nobody's, and what was not sent stays."""
    ledger: HandingLedger[str] = HandingLedger()
    for one in ledger.announce(["a", "b"]):
        ledger.note_sent(one)
    assert ledger.going(["b", "c"]) == ("b",)


def test_what_is_gone_completes_the_set_and_is_not_owned() -> None:
    """The old side says so instead of leaving it out."""
    ledger: AdoptionLedger[int] = AdoptionLedger()
    known = [ledger.complete]
    ledger.expect([1, 2])
    ledger.note_received(1)
    known.append(ledger.complete)
    ledger.note_received(2, gone=True)
    known.append(ledger.complete)
    assert known == [True, False, True]
    assert ledger.received == [1]


def test_the_commit_names_what_is_owned() -> None:
    """What it does not name is left alone; what never came cannot be owned, and that is told."""
    ledger: AdoptionLedger[int] = AdoptionLedger()
    ledger.note_received(1)
    ledger.note_received(2)
    assert ledger.commit([2]) == (2,)
    with pytest.raises(BackendMissing, match="process 3"):
        ledger.commit([2, 3])
