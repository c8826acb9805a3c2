"""Refusals: each of them, and their order."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest

from hotswap.core.errors import Problem, RefusalCode
from hotswap.core.identity import RolloutId
from hotswap.core.rollout.compatibility import CompatibilityNumber, Unreadable
from hotswap.core.rollout.refusal import CHECKS, TriggerState, check_trigger
from hotswap.core.strategy import Strategy

ONE, TWO = CompatibilityNumber("1"), CompatibilityNumber("2")
GOOD = TriggerState(pool="web", slots=2, ready=2, strategy=Strategy.DRAIN_FIRST, running=ONE, offered=ONE)

BAD: dict[RefusalCode, dict[str, Any]] = {
    RefusalCode.SHUTTING_DOWN: {"shutting_down": True},
    RefusalCode.TAKEOVER_IN_PROGRESS: {"takeover_in_progress": True},
    RefusalCode.NOT_SUPERVISED: {"supervised": False},
    RefusalCode.POOL_TOO_SMALL: {"slots": 1, "ready": 1},
    RefusalCode.STORAGE_EXCLUSIVE: {"storage_shared": False},
    RefusalCode.POOL_LOCKED: {"locked": "rollout r1 failed"},
    RefusalCode.ROLLOUT_IN_PROGRESS: {"rollout": RolloutId("r7")},
    RefusalCode.NOT_READY: {"ready": 1, "serving": (1,), "drained": (0,)},
    RefusalCode.COMPATIBILITY_MISMATCH: {"offered": TWO},
    RefusalCode.COMPATIBILITY_UNREADABLE: {"offered": Unreadable("RESTART_EPOCH is empty")},
    RefusalCode.CONFIG_INVALID: {"problems": (Problem("pools.web.size", 0, "1 or more"),)},
}
"""What makes each refusal hold, one fact at a time."""


def test_a_good_trigger_passes():
    """No row holds."""
    assert check_trigger(GOOD) is None


def test_the_rows_are_in_the_order_of_the_contract():
    """The enum lists the codes in the contract's order."""
    assert [code for code, _ in CHECKS] == list(RefusalCode)


@pytest.mark.parametrize("code", RefusalCode)
def test_each_refusal_has_its_code_a_reason_and_the_state_found(code):
    """The state goes into JSON as it is."""
    refused = check_trigger(replace(GOOD, **BAD[code]))
    assert refused is not None
    assert refused.code is code
    assert refused.detail
    assert json.loads(json.dumps(refused.state))["pool"] == "web"


def test_a_rollout_in_progress_names_the_verb_that_ends_it():
    """It may hang for as long as `start_timeout`, and whoever has the repair at hand need not wait for that."""
    refused = check_trigger(replace(GOOD, **BAD[RefusalCode.ROLLOUT_IN_PROGRESS]))
    assert refused is not None
    assert refused.detail == "rollout r7 of pool web is in progress; to end it: hotswap abort web"


@pytest.mark.parametrize(("first", "second"), list(combinations(RefusalCode, 2)))
def test_of_two_refusals_the_earlier_one_is_the_answer(first, second):
    """For every pair; a number cannot be both different and unreadable, so there the later fact is left out."""
    facts = {**BAD[second], **BAD[first]}
    refused = check_trigger(replace(GOOD, **facts))
    assert refused is not None
    assert refused.code is first


def test_one_slot_is_enough_for_surge():
    """The replacement serves before the old one drains."""
    assert check_trigger(replace(GOOD, slots=1, ready=1, strategy=Strategy.SURGE)) is None


@pytest.mark.parametrize(
    ("running", "offered", "code"),
    [
        (None, None, None),
        (ONE, None, None),
        (None, ONE, None),
        (TWO, ONE, RefusalCode.COMPATIBILITY_MISMATCH),
        (ONE, TWO, RefusalCode.COMPATIBILITY_MISMATCH),
        (Unreadable("no file"), ONE, RefusalCode.COMPATIBILITY_UNREADABLE),
        (Unreadable("no file"), None, None),
        (ONE, Unreadable("no file"), RefusalCode.COMPATIBILITY_UNREADABLE),
    ],
)
def test_any_difference_of_numbers_refuses_downgrades_too(running, offered, code):
    """Without a number on one side there is nothing to compare."""
    refused = check_trigger(replace(GOOD, running=running, offered=offered))
    assert (refused and refused.code) == code


def test_a_refusal_leaves_no_trace():
    """The same facts give the same answer, and good facts pass right after bad ones."""
    bad = replace(GOOD, offered=TWO)
    assert check_trigger(bad) is not None
    assert check_trigger(bad) is not None
    assert check_trigger(GOOD) is None


def test_problems_are_told_in_the_form_of_the_admin_api():
    """Page and command line show path, value and what is allowed of each."""
    refused = check_trigger(replace(GOOD, **BAD[RefusalCode.CONFIG_INVALID]))
    assert refused is not None
    problem = {"file": None, "line": None, "path": "pools.web.size", "value": "0", "allowed": "1 or more"}
    assert refused.state["problems"] == [problem]


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({"ready": 1}, None),
        ({"ready": 0}, None),
        ({"ready": 0, "drained": (0,)}, None),
        ({"ready": 1, "serving": (1,), "drained": (0,)}, RefusalCode.NOT_READY),
        ({"ready": 1, "serving": (1,), "drained": (0,), "strategy": Strategy.SURGE}, None),
        ({"slots": 3, "ready": 1, "serving": (1,), "drained": (0,)}, None),
        ({"slots": 3, "ready": 1, "serving": (1,), "drained": (0, 2)}, RefusalCode.NOT_READY),
        ({"slots": 3, "ready": 2, "serving": (1, 2), "drained": (0,)}, None),
        ({"slots": 1, "ready": 0}, None),
        ({"ready": 0, "storage_shared": False}, None),
        ({"ready": 0, "offered": TWO}, None),
        ({"ready": 0, "running": Unreadable("no file")}, None),
        ({"ready": 0, "offered": Unreadable("no file")}, None),
    ],
)
def test_a_reload_repairs_so_only_what_serves_and_would_be_lost_refuses_it(facts, code):
    """`not-ready` is left for one case: the only one that serves, while an operator has drained all others."""
    refused = check_trigger(replace(GOOD, **facts))
    assert (refused and refused.code) == code
    if refused is not None and code is RefusalCode.NOT_READY:
        assert "slot 1 of pool web alone serves" in refused.detail
        assert "hotswap readmit web 0" in refused.detail
