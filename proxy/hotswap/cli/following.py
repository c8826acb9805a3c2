"""Follows a rollout to its end, and describes its progress in words.

Two documents are enough to tell it, the report of the rollout and the state of its pool. The words are made by plain
functions of these; `hotswap.cli.picture` draws them where a person sits there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from hotswap.cli.client import AdminClient, Json, ProblemAnswer, ProxyLost, path_of
from hotswap.cli.terminal import tell
from hotswap.cli.waiting import oldest_words

POLL = 0.2
"""Seconds between two looks."""

RECONNECT_TIMEOUT = 15.0
"""Seconds for which a proxy may not answer before it is given up."""

PHASES: Mapping[str, str] = {
    "pending": "waits for its turn",
    "starting": "starting the replacement, the old backend drains",
    "starting-drained": "starting the replacement, the old backend has drained",
    "starting-overdue": "starting the replacement, the old backend is past its drain timeout",
    "starting-alone": "starting the replacement, there is no old backend",
    "draining": "draining the old backend",
    "stopping": "stopping the old backend",
    "reverting": "failed: the old backend is readmitted, the replacement killed",
    "aborting": "aborting: the old backend is readmitted, the replacement killed",
    "abandoning": "abandoning",
    "done": "replaced",
    "failed": "failed",
    "aborted": "aborted",
}
"""What the states of a step mean, in words; a state that is not here is shown as it is."""

FINAL = {"pending", "done", "failed", "aborted"}


def phase_of(step: Json, strategy: str) -> str:
    """The phase of a slot's turn, in words."""
    state = str(step["state"])
    if state == "starting" and strategy == "surge":
        return "starting the replacement, the old backend serves"
    return PHASES.get(state, state)


def old_backend(step: Json, pool: Json) -> Json | None:
    """Find the backend that is being replaced; None when it is gone."""
    for slot in pool["slots"]:
        if slot["slot"] == step["slot"]:
            for backend in slot["backends"]:
                if backend["generation"] == step["old_generation"]:
                    return backend
    return None


def detail_of(step: Json, pool: Json) -> str:
    """Say what is in flight, how much of the drain is left and what it waits for; "" when nothing is in flight."""
    old = old_backend(step, pool)
    if old is None or old["state"] != "draining" or not old["in_flight"]:
        return ""
    words = f"{old['in_flight']} in flight"
    left = old.get("drain_left")
    words = words if left is None else f"{words}, {max(0.0, float(left)):.0f} s left"
    oldest = oldest_words(old)
    return f"{words}; {oldest}" if oldest else words


def step_words(step: Json, pool: Json, strategy: str) -> str:
    """The state of a slot's turn, in one line."""
    detail = "" if step["state"] in FINAL else detail_of(step, pool)
    generations = f"generation {step['old_generation']} to {step['new_generation']}"
    back = "back, " if step.get("rollback") else ""
    words = f"slot {step['slot']}: {back}{generations}: {phase_of(step, strategy)}"
    return f"{words} ({detail})" if detail else words


def summary(report: Json) -> str:
    """Say how a rollout went, in one line."""
    steps = [step for step in report["slots"] if not step.get("rollback")]
    done = sum(step["state"] == "done" for step in steps)
    words = f"rollout {report['id']} of pool {report['pool']}: {report['outcome']}"
    words += f", {done} of {len(steps)} slots replaced in {report['seconds']:.1f} s"
    counts = {key: sum(step["exchanges"][key] for step in report["slots"]) for key in ("retried", "held", "cut")}
    told = [f"{value} {key}" for key, value in counts.items() if value]
    killed = sum(bool(step.get("killed")) for step in report["slots"])
    told += [f"{killed} killed"] if killed else []
    return words + "".join(f", {one}" for one in told)


def why_ended(report: Json) -> str:
    """Say why a rollout that is not done has ended; its reason code only where that says more than the outcome."""
    codes = [] if report["reason"] in (None, report["outcome"]) else [report["reason"]]
    return ": ".join(map(str, [*codes, report["detail"]]))


class Lines:
    """Progress as log lines: one whenever a slot's turn advances."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, bool], str] = {}

    def show(self, report: Json, pool: Json) -> None:
        """Print what is new."""
        for step in report["slots"]:
            key = (step["slot"], bool(step.get("rollback")))
            if step["state"] != self._seen.get(key, "pending"):
                self._seen[key] = step["state"]
                tell(f"rollout {report['id']}: pool {report['pool']}, {step_words(step, pool, report['strategy'])}")


Progress = Callable[[Json, Json], None]
"""Displays the progress of a rollout, given its report and the state of its pool."""


def follow(client: AdminClient, report: Json, progress: Progress) -> Json:
    """Display the progress of a rollout until it has ended, and give its report.

    Raises:
        ProxyLost: the proxy did not answer for a while.
        ProblemAnswer: it does not know the rollout any more: it was restarted.
    """
    path = path_of("v1", "rollouts", report["id"])
    pool_path = path_of("v1", "pools", report["pool"])
    lost_since: float | None = None
    while True:
        try:
            # In this order: what the report says of a slot is then never older than the picture of its backends.
            pool = client.get(pool_path)
            report = client.get(path)
        except ProxyLost:
            lost_since = lost_since or time.monotonic()
            if time.monotonic() - lost_since > RECONNECT_TIMEOUT:
                raise
        except ProblemAnswer as problem:
            if problem.status == 404:
                hint = f"rollout {report['id']} is not known any more; was the proxy restarted?"
                raise ProxyLost(hint) from problem
            raise
        else:
            lost_since = None
            progress(report, pool)
            if report["outcome"] != "running":
                return report
        time.sleep(POLL)  # noqa: TID251  # nothing else runs in this process
