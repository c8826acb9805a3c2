"""Words for people: what a record of the log or an event says, as the place it is about and one sentence.

A table has a sentence for each name that is seen often; any other is told by its own words, its detail and its fields.
What says nothing that another line does not say as well has no sentence at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from hotswap.core.printable import one_line

Fields = Mapping[str, object]
Sentence = str | Callable[[Fields], str | None] | None
"""A template of fields, a function of them, or nothing."""

APART: Final = frozenset(
    {
        "at", "backend", "before", "detail", "directory", "event", "exception", "generation", "id", "kind", "level",
        "listener", "output", "pid", "pool", "report", "rollback", "rollout", "slot", "takeover", "timestamp",
    }
)  # fmt: skip
"""Fields that a sentence made of the rest does without: they are shown elsewhere, or tell a person nothing."""


def place_of(fields: Fields) -> str:
    """What a record is about: `web/0` for a slot, `web` for a pool, the name of a listener, or nothing."""
    pool, slot = fields.get("pool"), fields.get("slot")
    if pool is not None:
        return f"{pool}/{slot}" if slot is not None else str(pool)
    return str(fields.get("listener") or "")


def sentence_of(name: str, fields: Fields) -> str | None:
    """Say what a record says, on one line and without its place; None where another record says it.

    Args:
        name: of the event, dotted.
        fields: whatever it has; one that its sentence misses makes it a plain one.
    """
    try:
        found = SENTENCES[name]
        said = found(fields) if callable(found) else None if found is None else found.format_map(fields)
    except (
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
    ):  # of another version, or by a call that leaves something out
        said = plain_sentence(name, fields)
    return None if said is None else one_line(said)


def plain_sentence(name: str, fields: Fields) -> str:
    """Make a sentence of a name, the detail and the fields: `state directory vanished: made again (path /run/x)`."""
    words = name.removeprefix("backend.").replace(".", " ").replace("_", " ")
    detail = fields.get("detail") or fields.get("error")
    shown = {key: value for key, value in fields.items() if key not in APART and key != "error"}
    told = [f"{key.replace('_', ' ')} {_value(value)}" for key, value in shown.items() if _tells(value)]
    return words + (f": {detail}" if detail else "") + (f" ({', '.join(told)})" if told else "")


def _tells(value: object) -> bool:
    return value is not None and value is not False and value not in ("", [], (), {})


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_value(one)}" for key, one in value.items())
    return ", ".join(map(_value, value)) if isinstance(value, list | tuple) else str(value)


def counted(number: object, noun: str) -> str:
    """A number with its noun."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def seconds_words(seconds: object) -> str:
    """A duration in the unit that people read it in."""
    value = float(str(seconds))
    if value < 1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"


def clock(at: object) -> str:
    """The local time of day of an ISO 8601 moment."""
    return f"{datetime.fromisoformat(str(at)).astimezone():%H:%M:%S}"


def exit_words(fields: Fields) -> str | None:
    """Say how a process ended: `stopped` when it was asked to and did; nothing where its start has failed."""
    reason, exit = str(fields["reason"]), str(fields.get("exit") or "")
    if reason == "start-failed":
        return None
    if reason == "discarded":
        return "ended before it was ready: it is not wanted any more"
    if reason == "stopped" and exit in ("", "stopped", "exit code 0"):
        return "stopped"
    if reason == "crashed":
        return f"crashed: {fields.get('last_error') or exit}"
    return exit or reason if not exit or exit.startswith(reason) else f"{reason}, {exit}"


def _ready(fields: Fields) -> str:
    return f"ready after {seconds_words(fields['seconds'])}"


def _draining(fields: Fields) -> str:
    if fields.get("by") == "operator":
        return "drained by an operator"
    flying = fields.get("in_flight")
    return f"draining, {flying} in flight" if flying else "draining"


def _crashed(fields: Fields) -> str:
    why = fields.get("last_error") or fields["exit"]
    return f"crashed: {why}" + (f"; {fields['in_flight']} in flight" if fields.get("in_flight") else "")


def _failed(fields: Fields) -> str:
    return f"did not become ready: {fields.get('detail') or fields['last_error']}"


def _backoff(fields: Fields) -> str:
    return f"waits before it is tried again: {fields['last_error']}"


def _crash_looping(fields: Fields) -> str:
    why = f": {fields['last_error']}" if fields.get("last_error") else ""
    return f"failed {fields['crashes']} times in a row{why}; next try at {clock(fields['next_try'])}"


def _paused(fields: Fields) -> str:
    match fields.get("answer"):
        case {"status": status, "page": page}:
            return f"paused: requests are answered {status}{' with a page' if page else ''}"
    return "paused: requests are held"


def _health(fields: Fields) -> str:
    return f"{fields['health']}: {fields['detail']}" if fields.get("detail") else str(fields["health"])


def _backend_stopping(fields: Fields) -> str:
    limit = f", at most {seconds_words(fields['stop_timeout'])}" if "stop_timeout" in fields else ""
    return f"stopping{limit}"


def _stopping(fields: Fields) -> str:
    if "in_flight" not in fields:
        return "the proxy stops"
    again = "Ctrl-C again stops at once"
    if not fields["in_flight"]:
        return f"stopping: the backends end; {again}"
    oldest = f" (the oldest: {fields['oldest']})" if fields.get("oldest") else ""
    limit = seconds_words(fields["shutdown_timeout"])
    return f"stopping: waits for {counted(fields['in_flight'], 'request')}{oldest}, at most {limit}; {again}"


def _slot_done(fields: Fields) -> str:
    told = [f"{fields[key]} {key}" for key in ("retried", "held", "cut") if fields.get(key)]
    told += ["killed"] if fields.get("killed") else []
    took = f" in {seconds_words(fields['seconds'])}" if "seconds" in fields else ""
    back = "back at what it ran before" if fields.get("rollback") else "replaced"
    return back + took + "".join(f", {one}" for one in told)


def _ended(fields: Fields) -> str:
    return f"rollout {fields['rollout']} {fields.get('outcome', 'failed')}: {fields['detail']}"


def _aborted(fields: Fields) -> str:
    return f"rollout {fields['rollout']} aborted: {fields['detail']}"


def _done(fields: Fields) -> str:
    return f"rollout {fields['rollout']} done in {seconds_words(fields['seconds'])}"


def _step(fields: Fields) -> str | None:
    state = str(fields["state"])
    if state in ("done", "failed", "aborted"):
        return None  # rollout.slot_done and its like
    back = "back, " if fields.get("rollback") else ""
    return f"rollout {fields['rollout']}: {back}{state.replace('-', ', ')}"


def _problems(fields: Fields) -> str:
    problems = fields.get("problems")
    told = [_problem(one) for one in problems] if isinstance(problems, list | tuple) else []
    return "the configuration cannot be used, nothing was changed" + (f": {'; '.join(told)}" if told else "")


def _problem(problem: object) -> str:
    if isinstance(problem, Mapping):
        return " ".join(str(problem[key]) for key in ("path", "allowed") if problem.get(key))
    return str(problem)


def _applied(fields: Fields) -> str:
    changes = fields.get("changes")
    told = ", ".join(map(str, changes)) if isinstance(changes, list | tuple) else ""
    return f"configuration read again: {told or 'nothing has changed'}"


def _listening(fields: Fields) -> str:
    addresses = fields["addresses"]
    told = ", ".join(map(str, addresses)) if isinstance(addresses, list | tuple) else str(addresses)
    trust = f"; trust {fields['authority']} for its certificate" if fields.get("authority") else ""
    return f"listening on {told}{trust}"


def _proxy_ready(fields: Fields) -> str:
    missing, errors = fields.get("not_ready"), fields.get("last_errors")
    if not isinstance(missing, list | tuple) or not missing:
        return "ready"
    why = errors if isinstance(errors, Mapping) else {}
    told = [f"{pool} ({why[pool][0]})" if why.get(pool) else str(pool) for pool in missing]
    return f"ready, without {', '.join(told)}, which did not come up so far and is tried again"


def _signal(fields: Fields) -> str | None:
    # What stops the proxy is told by `proxy.stopping`.
    return None if fields["signal"] in ("SIGINT", "SIGTERM") else f"{fields['signal']} received"


def _ejected(fields: Fields) -> str:
    seconds = fields["seconds"]
    return (
        f"failed again and again: others are preferred for {seconds_words(seconds)}" if seconds else "preferred again"
    )


SENTENCES: Final[Mapping[str, Sentence]] = {
    "proxy.starting": "hotswap {version} starts with {config}, pid {pid}",
    "proxy.succeeding": "hotswap {version} takes over with {config}, pid {pid}",
    "proxy.ready": _proxy_ready,
    "proxy.stopping": _stopping,
    "proxy.stopping_at_once": "stopping at once: requests and backends are cut",
    "proxy.stopped": "stopped",
    "proxy.waited": "waited: {detail}",
    "proxy.departed": "{detail}; this one ends",
    "proxy.user_may_not": "{detail}",
    "signal.received": _signal,
    "config.caution": "{detail}",
    "config.applied": _applied,
    "config.invalid": _problems,
    "config.not_applied": "nothing of the configuration was taken over: {detail}",
    "admin.listening": None,  # the page is told with `ready`
    "listener.listening": _listening,
    "backend.output": "{line}",
    "backend.added": None,
    "backend.removed": None,
    "backend.stopped": None,  # how it ended is told by backend.exited
    "backend.drained": None,
    "backend.starting": "starting, pid {pid}",
    "backend.ready": _ready,
    "backend.draining": _draining,
    "backend.readmitted": "in rotation again",
    "backend.stopping": _backend_stopping,
    "backend.killed": "killed: {detail}",
    "backend.exited": exit_words,
    "backend.crashed": _crashed,
    "backend.failed": _failed,
    "backend.not_started": "could not be started: {detail}",
    "backend.backoff": _backoff,
    "slot.crash_looping": _crash_looping,
    "slot.recovered": "ready again",
    "backend.health": _health,
    "backend.healthy": "healthy again",
    "backend.not_yet_healthy": "answers, but not as expected so far: {detail}",
    "backend.unhealthy": "unhealthy: {detail}",
    "backend.still_unhealthy": "still unhealthy: {detail}",
    "backend.ejected": _ejected,
    "backend.drain_timed_out": "not drained in time: {cut} cut",
    "backend.connections_cut": "{cut} cut at the last moment",
    "pool.locked": "locked: {reason}; once repaired: hotswap unlock {pool}",
    "pool.unlocked": "unlocked",
    "pool.paused": _paused,
    "pool.resumed": "resumed: requests go on",
    "pool.hopeless": "nothing serves and nothing is coming: requests are answered 503",
    "pool.removing": "removed from the configuration: its backends end",
    "pool.removed": "gone",
    "rollout.refused": "reload refused: {code}: {detail}",
    "rollout.started": "rollout {rollout} started by {trigger}, generation {generation}",
    "rollout.step": _step,
    "rollout.slot_started": None,
    "rollout.slot_done": _slot_done,
    "rollout.slot_failed": None,  # why is told by rollout.replacement_failed, and that it ended by rollout.failed
    "rollout.slot_aborted": None,
    "rollout.replacement_failed": "the replacement failed: {detail}",
    "rollout.abort_requested": "rollout {rollout} is to end: {reason}",
    "rollout.done": _done,
    "rollout.failed": _ended,
    "rollout.aborted": _aborted,
    "rollout.report": None,
    "takeover.started": "a new process is started to take over",
    "takeover.moved": None,
    "library.logged": "{logger}: {message}",
    "log.dropped": "{lines} lines of this log were lost",
    "access_log.dropped": "{lines} access lines were lost",
    "defect": "a defect of the proxy in {where}: {error}",
}
"""What each says; the names are those of `docs/reference/log-events.md`."""
