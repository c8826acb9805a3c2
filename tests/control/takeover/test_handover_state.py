"""The state that travels in a takeover: what is written is read, and counts go on without a gap or a doubling."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import structlog
import trio
from hypothesis import given
from hypothesis import strategies as st

from hotswap.control.pools.release import Release
from hotswap.control.pools.static_pool import StaticPool
from hotswap.control.pools.supervised_pool import SupervisedPool
from hotswap.control.rollout.book import RolloutBook
from hotswap.control.takeover.handover_state import (
    OWN_COUNTS,
    add_tally,
    read_release_state,
    read_state,
    since,
    write_release,
    write_state,
    write_tally,
)
from hotswap.control.telemetry.events import EventLog
from hotswap.core.config import StaticPoolTable, SupervisedPoolTable, parse_draft
from hotswap.core.errors import NotFound
from hotswap.core.identity import RolloutId
from hotswap.core.pool.last_error import LastError
from hotswap.core.pool.pause_answer import PauseAnswer
from hotswap.core.rollout.commands import Outcome
from hotswap.core.rollout.compatibility import CompatibilityNumber, Unreadable
from hotswap.core.tally import Histogram, Tally
from hotswap.processes.presets import recipe
from hotswap.wire.handover import HandoverBroken
from tests.support.pool_stage import open_pool, supervised_table

CONFIGURATION = """
[listeners.public]
bind = ["127.0.0.1:0"]
[[routes]]
pool = "web"
[pools.web]
server = "uvicorn"
app = "shop:app"
directory = "/srv/shop"
size = 3
drain_timeout = "90s"
environment = { A = "ü" }
health = { interval = "250ms", expect = "200-204,404" }
rollout = { strategy = "surge" }
"""


def over_the_wire(value: object) -> dict[str, object]:
    """As the other process reads it."""
    found = json.loads(json.dumps(value))
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("compatibility", [None, CompatibilityNumber("7"), Unreadable("gone")])
def test_a_release_survives_the_journey(compatibility) -> None:
    """Every setting of its table, the very command, and the number."""
    table = parse_draft(CONFIGURATION, origin="/nowhere/hotswap.toml").accept().pools["web"]
    assert isinstance(table, SupervisedPoolTable)
    release = Release(
        table=table,
        directory="/srv/shop/17",
        environment={"A": "ü", "PATH": "/bin"},
        recipe=recipe(table),
        compatibility=compatibility,
    )
    assert read_release_state(over_the_wire(write_release(release))) == release


async def test_reports_of_rollouts_survive_the_journey(tmp_path) -> None:
    """Those that failed too, with every figure; and the newest twenty of both processes are remembered."""
    async with open_pool(supervised_table(tmp_path)) as stage:
        broken = supervised_table(tmp_path, "faulty", "dies-at-start", "--seconds", "0")
        good, bad = await stage.roll(), await stage.roll(broken)
        assert (good.outcome, bad.outcome) == (Outcome.DONE, Outcome.FAILED)
        now = trio.current_time()
        reports = [good.report(now), replace(bad.report(now), id=RolloutId("r40"))]
        assert reports[1].detail
        old = RolloutBook(structlog.get_logger())
        old.restore(40, reports)
        state = read_state(over_the_wire(write_state([stage.pool], book=old, events=EventLog(), tally=Tally())))
        new = RolloutBook(structlog.get_logger())
        new.restore(state.last_rollout, state.rollouts)
        assert new.ended() == tuple(reports)
        assert new.next_id() == "r41"
        assert await new.wait_ended("r40") is new.find("r40")
        # No more than the newest twenty of both processes.
        new.restore(40, [replace(reports[0], id=RolloutId(f"past-{number}")) for number in range(40)])
        run = await stage.plan()
        async with trio.open_nursery() as nursery:
            new.start([run], nursery)
        assert [one.id for one in new.rollouts()] == [*(f"past-{number}" for number in range(21, 40)), run.rollout.id]
        with pytest.raises(NotFound, match="no rollout "):
            new.find("past-20")


async def test_why_a_slot_is_down_survives_the_journey(tmp_path) -> None:
    """Whoever repairs it by a takeover is told the reason by the new process, before it has failed there."""
    table = supervised_table(tmp_path, size=1, command=["sh", "-c", "echo no database >&2; exit 3"])
    async with open_pool(table, full=False) as stage:
        await stage.wait(lambda: stage.pool.core.failed_starts(0) >= 1)
        written = write_state([stage.pool], book=RolloutBook(structlog.get_logger()), events=EventLog(), tally=Tally())
        error = LastError(text="exited with status 3: no database", exit="exit code 3")
        assert read_state(over_the_wire(written)).supervised["web"].errors == {0: error}
        del written["supervised"]["web"]["slots"][0]["error"]
        assert read_state(over_the_wire(written)).supervised["web"].errors == {}


async def test_drained_slots_survive_the_journey(tmp_path) -> None:
    """As facts of the slots; older code says nothing of them, and then none is."""
    async with open_pool(supervised_table(tmp_path)) as stage:
        stage.pool.drain_slot(0)
        written = write_state([stage.pool], book=RolloutBook(structlog.get_logger()), events=EventLog(), tally=Tally())
        assert [slot.drained for slot in read_state(over_the_wire(written)).supervised["web"].slots] == [True, False]
        for slot in written["supervised"]["web"]["slots"]:
            del slot["drained"]
        assert not any(slot.drained for slot in read_state(over_the_wire(written)).supervised["web"].slots)


@pytest.mark.parametrize("answer", [None, PauseAnswer(status=404), PauseAnswer(page="<h1>später</h1>".encode())])
async def test_the_answer_of_a_pause_survives_the_journey(tmp_path, answer) -> None:
    """Of pools of both kinds; older code holds what it does not know to answer, and sends none."""
    static = StaticPoolTable.model_validate({"addresses": ["127.0.0.1:1"]})
    async with open_pool(supervised_table(tmp_path)) as stage:
        legacy = StaticPool("legacy", static, stage.pool.surroundings)
        for pool in (stage.pool, legacy):
            pool.entries.pause(answer)
        book = RolloutBook(structlog.get_logger())
        written = write_state([stage.pool, legacy], book=book, events=EventLog(), tally=Tally())
        state = read_state(over_the_wire(written))
        assert [state.supervised["web"].answer, state.static["legacy"].answer] == [answer, answer]
        for told in (written["supervised"]["web"], written["static"]["legacy"]):
            del told["answer"]
        state = read_state(over_the_wire(written))
        assert [state.supervised["web"].answer, state.static["legacy"].answer] == [None, None]
        assert [state.supervised["web"].paused, state.static["legacy"].paused] == [True, True]
        written["static"]["legacy"]["answer"] = {"status": 999, "page": ""}
        with pytest.raises(HandoverBroken, match="cannot be read"):
            read_state(over_the_wire(written))


async def test_the_directories_of_releases_that_were_seen_survive_the_journey(tmp_path) -> None:
    """Those of older code, which did not send them, are not made up: only the release in force is known then."""
    places = [tmp_path / name for name in "abcd"]
    for place in places:
        place.mkdir()
    async with open_pool(supervised_table(places[0])) as stage:
        for place in places[1:]:
            await stage.roll(supervised_table(place))
        asked = tuple(str(place) for place in reversed(places[1:]))
        assert stage.plane.claims["web"].view.directories == asked
        written = write_state([stage.pool], book=RolloutBook(structlog.get_logger()), events=EventLog(), tally=Tally())
        state = read_state(over_the_wire(written)).supervised["web"]
        assert state.directories == asked
        del written["supervised"]["web"]["directories"]
        older = read_state(over_the_wire(written)).supervised["web"]
        assert older.directories == ()
        for found, expected in ((state, asked), (older, asked[:1])):
            pool = SupervisedPool("web", found.releases[found.generation], stage.surroundings, processors=2)
            pool.restore(
                generation=found.generation,
                newest=found.newest,
                releases=found.releases,
                slots=found.slots,
                errors=found.errors,
                directories=found.directories,
            )
            assert pool.core.view().directories == expected


counts = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 5), st.floats(0, 100)), max_size=20)


def count(tally: Tally, things: list[tuple[str, int, float]]) -> None:
    """Count some of everything."""
    for name, number, seconds in things:
        tally.requests[name, "web", "GET", 200 + number] += number
        tally.rollouts[name, "done"] += 1
        tally.takeovers["done"] += 1
        tally.connections[name] += 1
        tally.request_duration.setdefault(name, Histogram()).observe(seconds)


@given(counts, counts, counts)
def test_counts_go_on_from_process_to_process(before, during, beside) -> None:
    """What both count after the commit adds up to what one process would have counted."""
    old, new, alone = Tally(), Tally(), Tally()
    for things in (before, during, beside):
        count(alone, things)
    count(old, before)
    handed = write_tally(old)
    add_tally(new, over_the_wire(handed))
    count(old, during)
    count(new, beside)
    add_tally(new, over_the_wire(since(handed, write_tally(old))), leave_out=OWN_COUNTS)
    assert new.requests == alone.requests
    assert new.rollouts == alone.rollouts
    assert new.request_duration.keys() == alone.request_duration.keys()
    for name, histogram in new.request_duration.items():
        assert histogram.counts == alone.request_duration[name].counts
        assert histogram.total == pytest.approx(alone.request_duration[name].total)
    # Only what happened in the process that goes on.
    assert new.takeovers["done"] == len(before) + len(beside)
    assert sum(new.connections.values()) == len(beside)


def test_nothing_new_is_nothing() -> None:
    """A second without a request sends no numbers."""
    tally = Tally()
    count(tally, [("a", 1, 0.5)])
    written = write_tally(tally)
    assert since(written, write_tally(tally)) == {}


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"supervised": []},
        {"supervised": {}, "static": {}, "last_rollout": "x", "last_event": 0, "events": [], "tally": {}},
        {"supervised": {"web": {}}, "static": {}, "last_rollout": 0, "last_event": 0, "events": [], "tally": {}},
    ],
)
def test_a_state_that_cannot_be_read_is_an_error(value) -> None:
    """Never half of a state."""
    with pytest.raises(HandoverBroken, match="cannot be read"):
        read_state(value)


def test_counts_of_a_kind_that_is_not_known_are_left_out() -> None:
    """Newer code may count more."""
    tally = Tally()
    add_tally(tally, {"unheard_of": [[["a"], 1]], "rollouts": [[["web", "done"], 2]]})
    assert tally.rollouts["web", "done"] == 2
    with pytest.raises(HandoverBroken):
        add_tally(tally, {"rollouts": [[1, 2]]})
