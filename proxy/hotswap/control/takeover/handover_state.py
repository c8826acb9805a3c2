"""The state that travels in a takeover: written by the old process, read by the new one, as JSON (schema 1).

What is in it is what cannot be had from anywhere else: numbers that go on, pinned releases, what operators
ordered, what was counted, the last events. Sockets and processes travel beside it as descriptors; what follows
from the configuration is read anew.

A schema is raised when what is written changes so that older code would misread it; unknown keys are ignored.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, ConfigDict, TypeAdapter

from hotswap.control.pools.release import Release
from hotswap.control.pools.slot import Slot
from hotswap.control.pools.static_pool import StaticPool
from hotswap.control.pools.supervised_pool import SupervisedPool
from hotswap.control.rollout.book import RolloutBook
from hotswap.control.telemetry.events import Event, EventLog
from hotswap.core.backoff import Backoff
from hotswap.core.config import SupervisedPoolTable
from hotswap.core.pool.last_error import LastError
from hotswap.core.pool.lifecycle import BackendState
from hotswap.core.pool.pause_answer import PauseAnswer, read_pause_answer
from hotswap.core.rollout.compatibility import Compatibility, CompatibilityNumber, Unreadable
from hotswap.core.rollout.report import RolloutReport
from hotswap.core.strategy import Listen
from hotswap.core.tally import Histogram, Tally
from hotswap.processes.listening import Transport
from hotswap.processes.presets import Recipe
from hotswap.wire.handover import HandoverBroken

GAUGES = frozenset({"connections"})
"""What a tally holds that is not counted up: each process has its own."""

OWN_COUNTS = frozenset({"takeovers"})
"""What only the process that comes out of a takeover counts."""


# Releases.


def write_release(release: Release) -> dict[str, Any]:
    """Write a release, the environment of its backends included."""
    compatibility: dict[str, str] | None
    match release.compatibility:
        case None:
            compatibility = None
        case Unreadable(detail=detail):
            compatibility = {"unreadable": detail}
        case number:
            compatibility = {"number": number}
    return {
        "table": release.table.model_dump(mode="json"),
        "directory": release.directory,
        "environment": dict(release.environment),
        "argv": list(release.recipe.argv),
        "listen": release.recipe.listen.value,
        "transport": release.recipe.transport.value,
        "stop_signal": int(release.recipe.stop_signal),
        "compatibility": compatibility,
    }


def read_release_state(value: Mapping[str, Any]) -> Release:
    """Read what `write_release` wrote."""
    compatibility: Compatibility | None = None
    match value["compatibility"]:
        case {"unreadable": str(detail)}:
            compatibility = Unreadable(detail)
        case {"number": str(number)}:
            compatibility = CompatibilityNumber(number)
    return Release(
        # Paths in it were made absolute when the file was read.
        table=SupervisedPoolTable.model_validate(value["table"], context={"directory": "/"}),
        directory=value["directory"],
        environment=dict(value["environment"]),
        recipe=Recipe(
            argv=tuple(value["argv"]),
            listen=Listen(value["listen"]),
            transport=Transport(value["transport"]),
            stop_signal=signal.Signals(value["stop_signal"]),
        ),
        compatibility=compatibility,
    )


# Pools.


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisedState:
    """What goes on of a supervised pool, beside its backends."""

    generation: int
    newest: int
    locked: str | None
    paused: bool
    answer: PauseAnswer | None
    releases: Mapping[int, Release]
    slots: tuple[Slot, ...]
    errors: Mapping[int, LastError]
    directories: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticState:
    """What goes on of a static pool: verdicts and drained ones, by address."""

    paused: bool
    healths: Mapping[str, str]
    drained: frozenset[str]
    # Older code of the same schema did not send it.
    answer: Annotated[PauseAnswer | None, BeforeValidator(read_pause_answer)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoverState:
    """Everything that travels as JSON."""

    supervised: Mapping[str, SupervisedState]
    static: Mapping[str, StaticState]
    last_rollout: int
    rollouts: tuple[RolloutReport, ...]
    last_event: int
    events: tuple[Event, ...]
    tally: Mapping[str, Any]
    pid_directories: tuple[str, ...] = ()


_DEFERRED: Final = ConfigDict(defer_build=True)
_STATIC: Final = TypeAdapter(dict[str, StaticState], config=_DEFERRED)
_REPORTS: Final = TypeAdapter(tuple[RolloutReport, ...], config=_DEFERRED)
_EVENTS: Final = TypeAdapter(tuple[Event, ...], config=_DEFERRED)


def write_state(
    pools: Iterable[SupervisedPool | StaticPool], *, book: RolloutBook, events: EventLog, tally: Tally
) -> dict[str, Any]:
    """Write the state as it is now."""
    supervised: dict[str, Any] = {}
    static: dict[str, Any] = {}
    for pool in pools:
        if isinstance(pool, SupervisedPool):
            supervised[pool.name] = {
                "generation": pool.generation,
                "newest": pool.releases.newest,
                "locked": pool.core.locked,
                "paused": pool.core.paused,
                "answer": None if pool.core.answer is None else pool.core.answer.write(),
                "directories": list(pool.core.directories.asked),
                # A slot may hold a release of a rollout that failed in others.
                "releases": {
                    str(number): write_release(release)
                    for number, release in (
                        {**pool.releases, pool.generation: pool.release}
                        | {slot.generation: slot.release for slot in pool.slots.values()}
                    ).items()
                },
                "slots": [
                    {
                        "number": slot.number,
                        "generation": slot.generation,
                        "crashes": slot.backoff.crashes,
                        "drained": slot.drained,
                        "error": None if (error := pool.core.last_error(slot.number)) is None else asdict(error),
                    }
                    for slot in pool.slots.values()
                ],
            }
        else:
            static[pool.name] = {
                "paused": pool.core.paused,
                "answer": None if pool.core.answer is None else pool.core.answer.write(),
                "healths": {str(backend.address): backend.health.value for backend in pool.core.backends},
                # Not those that leave because the configuration has them no more.
                "drained": [
                    str(one.address)
                    for one in pool.core.backends
                    if one.state is BackendState.DRAINING and one not in pool.departures
                ],
            }
    return {
        "supervised": supervised,
        "static": static,
        "last_rollout": book.last,
        "rollouts": [report.to_json() for report in book.ended()],
        "last_event": events.last_id,
        "events": [
            {"id": event.id, "at": event.at, "kind": event.kind, "fields": dict(event.fields)}
            for event in events.recent()
        ],
        "tally": write_tally(tally),
    }


def read_state(value: Mapping[str, Any]) -> HandoverState:
    """Read what `write_state` wrote.

    Raises:
        HandoverBroken: it cannot be read.
    """
    try:
        return HandoverState(
            supervised={name: _read_supervised(pool) for name, pool in value["supervised"].items()},
            static=_STATIC.validate_python(value["static"]),
            last_rollout=int(value["last_rollout"]),
            # Older code of the same schema did not send them.
            rollouts=_REPORTS.validate_python(value.get("rollouts", ())),
            last_event=int(value["last_event"]),
            events=_EVENTS.validate_python(value["events"]),
            tally=value["tally"],
            # Older code of the same schema did not send them.
            pid_directories=tuple(map(str, value.get("pid_directories", ()))),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise HandoverBroken(f"the state cannot be read: {error!r}") from error


def _read_supervised(value: Mapping[str, Any]) -> SupervisedState:
    releases = {int(number): read_release_state(release) for number, release in value["releases"].items()}
    return SupervisedState(
        generation=int(value["generation"]),
        newest=int(value["newest"]),
        locked=value["locked"],
        paused=bool(value["paused"]),
        # Older code of the same schema did not send it.
        answer=read_pause_answer(value.get("answer")),
        releases=releases,
        slots=tuple(
            Slot(
                number=int(slot["number"]),
                generation=int(slot["generation"]),
                release=releases[int(slot["generation"])],
                backoff=Backoff(crashes=int(slot["crashes"])),
                # Older code of the same schema did not send it.
                drained=bool(slot.get("drained", False)),
            )
            for slot in value["slots"]
        ),
        # Older code of the same schema did not send them.
        errors={
            int(slot["number"]): LastError(text=str(error["text"]), exit=error["exit"])
            for slot in value["slots"]
            if (error := slot.get("error")) is not None
        },
        # Older code of the same schema did not send them.
        directories=tuple(map(str, value.get("directories", ()))),
    )


# What was counted.


def write_tally(tally: Tally) -> dict[str, Any]:
    """Write everything that was counted up."""
    written: dict[str, Any] = {}
    for field in fields(tally):
        series = getattr(tally, field.name)
        if field.name in GAUGES:
            continue
        if isinstance(series, Counter):
            written[field.name] = [[list(_labels(key)), count] for key, count in series.items()]
        else:
            written[field.name] = [[[key], list(one.counts), one.total] for key, one in series.items()]
    return written


def add_tally(tally: Tally, written: Mapping[str, Any], *, leave_out: frozenset[str] = frozenset()) -> None:
    """Add what another process counted; what is not known here is left out.

    Raises:
        HandoverBroken: it cannot be read.
    """
    try:
        for field in fields(tally):
            series = getattr(tally, field.name)
            for labels, *numbers in written.get(field.name, ()) if field.name not in leave_out else ():
                if isinstance(series, Counter):
                    key = labels[0] if len(labels) == 1 else tuple(labels)
                    series[key] += numbers[0]
                else:
                    histogram = series.setdefault(labels[0], Histogram())
                    counts, total = numbers
                    if len(counts) == len(histogram.counts):
                        # In place: the data plane holds on to these lists.
                        for index, count in enumerate(counts):
                            histogram.counts[index] += count
                        histogram.total += total
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        raise HandoverBroken(f"what was counted cannot be read: {error!r}") from error


def since(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Give what was counted between two writings of one tally."""
    grown: dict[str, Any] = {}
    for name, rows in now.items():
        known = {tuple(labels): numbers for labels, *numbers in before.get(name, ())}
        changed = []
        for labels, *numbers in rows:
            old = known.get(tuple(labels))
            if old == numbers:
                continue
            match numbers:
                case [list(counts), total]:
                    was_counts, was_total = old or ([0] * len(counts), 0.0)
                    added = [one - was for one, was in zip(counts, was_counts, strict=True)]
                    changed.append([labels, added, total - was_total])
                case [count]:
                    changed.append([labels, count - (old[0] if old else 0)])
        if changed:
            grown[name] = changed
    return grown


def _labels(key: object) -> tuple[object, ...]:
    return key if isinstance(key, tuple) else (key,)
