"""What a rollout tells about itself."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from hotswap.core.identity import RolloutId
from hotswap.core.rollout.commands import Outcome
from hotswap.core.rollout.report import RolloutReport, SlotReport
from hotswap.core.rollout.step_table import StepState
from hotswap.core.strategy import Strategy

REPORT = RolloutReport(
    id=RolloutId("r1"),
    pool="web",
    trigger="cli",
    strategy=Strategy.SURGE,
    generation=2,
    outcome=Outcome.DONE,
    reason=None,
    detail="",
    started=datetime(2024, 5, 17, 12, tzinfo=UTC),
    seconds=1.5,
    rolled_back=False,
    locked=False,
    slots=(SlotReport(slot=0, state=StepState.DONE, old_generation=1, new_generation=2),),
    output=(),
)


def test_a_report_is_plain_json():
    """The keys are the names of the fields; the start is ISO 8601."""
    document = json.loads(json.dumps(REPORT.to_json()))
    assert document["started"] == "2024-05-17T12:00:00+00:00"
    assert document["strategy"] == "surge"
    assert document["slots"][0]["seconds"] == {"starting": 0.0, "draining": 0.0, "stopping": 0.0, "total": 0.0}
    assert document["slots"][0]["offsets"] == {"turn": None, "starting": None, "draining": None, "stopping": None}
