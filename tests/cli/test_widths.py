"""What the verbs draw at 50, 80 and 120 columns: nothing is cut, and no row is broken in two."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.live import Live

from hotswap.cli.event_stream import draw_event
from hotswap.cli.picture import Picture, shown_steps
from hotswap.cli.reporting import slot_lines
from hotswap.cli.watching import render_status
from tests.support.command_line import cli, on_terminal
from tests.support.fake_runtime import open_fake_proxy

WIDTHS = [50, 80, 120]


def drawn(what: RenderableType, width: int) -> list[str]:
    """Draw something on a terminal of so many columns, and give its lines without what fills them."""
    console = Console(file=io.StringIO(), width=width, color_system=None, highlight=False)
    with console.capture() as capture:
        console.print(what)
    lines = [line.rstrip() for line in capture.get().splitlines()]
    assert all(cell_len(line) <= width for line in lines), lines
    assert "…" not in "".join(lines)
    return lines


def step(slot: int, state: str, **changes: Any) -> dict[str, Any]:
    """One slot's turn in a report."""
    return {
        "slot": slot,
        "state": state,
        "rollback": False,
        "old_generation": 1,
        "new_generation": 2,
        "seconds": {"starting": 1.0, "draining": 12.0, "stopping": 0.2, "total": 12.5},
        "offsets": {"turn": 0.0, "starting": 0.0, "draining": 0.0, "stopping": None},
        "exchanges": {
            "drained": 3, "retried": 0, "held": 0, "cut": 1, "tunnels_closed": 0, "longest_delay": 0.5
        },
        "killed": False,
        "reason": None,
        "detail": "",
        **changes,
    }  # fmt: skip


def report(*steps: dict[str, Any]) -> dict[str, Any]:
    """A rollout that goes on."""
    return {
        "id": "r1",
        "pool": "web",
        "strategy": "drain-first",
        "seconds": 13.0,
        "slots": list(steps),
        "outcome": "running",
    }


STEPS = (
    step(0, "done"),
    step(1, "starting"),
    step(2, "pending"),
    step(3, "failed", reason="exited"),
)
WAITING = {
    "request_line": "GET /a/long/path/that/somebody/asked/for", "client": "192.0.2.1", "age": 3.2,
    "request_bytes": 0, "response_bytes": 123456, "tunnel": False,
}  # fmt: skip
POOL = {
    "slots": [
        {"slot": 1, "backends": [
            {"generation": 1, "state": "draining", "in_flight": 3, "drain_left": 12.0, "waiting_for": [WAITING]}
        ]}
    ]
}  # fmt: skip


@pytest.mark.parametrize("width", WIDTHS)
def test_a_rollout_is_drawn_with_a_row_for_each_slot(width: int) -> None:
    """Who waits for what can be read at every width; bars are for terminals that have room."""
    picture = Picture(Live(console=Console(file=io.StringIO())))
    lines = drawn(picture.draw(report(*STEPS), POOL, width=width, height=40), width)
    text = " ".join(" ".join(lines).split())
    rows = [line for line in lines if " slot " in f" {line}" and "slots" not in line]
    assert len(rows) == len(STEPS), lines
    assert "pool web, rollout r1" in text
    for words in ("generation 1 to 2 in 12.5 s", "waits for its turn", "failed: exited", "1 of 4 slots, 13 s"):
        assert words in text
    flat = text.replace(" ", "")
    assert "3inflight,12sleft;waitsforGET/a/long/path/that/somebody/asked/forfrom192.0.2.1" in flat.replace(
        "━", ""
    ).replace("─", "")
    assert ("━" in text) is (width >= 72)


def test_a_low_terminal_shows_the_slots_at_hand() -> None:
    """What goes on or failed, then what was done last, then what is next; in their order."""
    steps = [*(step(slot, "done") for slot in range(10)), step(10, "stopping"), *(step(s, "pending") for s in (11, 12))]
    assert [one["slot"] for one in shown_steps(steps, 3)] == [8, 9, 10]
    assert [one["slot"] for one in shown_steps(steps, 12)] == list(range(12))
    picture = Picture(Live(console=Console(file=io.StringIO())))
    lines = drawn(picture.draw(report(*steps), POOL, width=80, height=8), 80)
    assert len(lines) <= 7
    assert lines[-2:] == ["and 10 other slots", ""]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_cursor_waits_on_an_empty_line_while_a_rollout_runs(width: int) -> None:
    """Behind a full line an echoed ^C would go on in the next, and all that is drawn after it began too low."""
    picture = Picture(Live(console=Console(file=io.StringIO())))
    running = drawn(picture.draw(report(*STEPS), POOL, width=width, height=40), width)
    over = drawn(picture.draw(report(*STEPS) | {"outcome": "done"}, POOL, width=width, height=40), width)
    # What turns while a slot is at hand has another face in each moment.
    turning = dict.fromkeys(map(ord, "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"), "⠋")
    assert [line.translate(turning) for line in running] == [*(line.translate(turning) for line in over), ""]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("pool", ["web", "a-pool-with-a-very-long-name-for-50-columns", "日本語のプール"])
async def test_the_state_is_drawn_with_a_row_for_each_backend(width: int, pool: str) -> None:
    """Place, state, health and what is in flight are there however narrow; an error is said whole."""
    async with open_fake_proxy() as proxy:
        document = proxy.runtime.status()
    document["pools"] = {pool: document["pools"]["web"]}
    document["pools"][pool]["slots"][1].update(
        last_error="exited with status 1: ModuleNotFoundError: No module named 'shop'",
        attempts=4,
        failed_starts=4,
        next_try="2026-11-30T00:00:00.000Z",
    )
    lines = drawn(render_status(document, width), width)
    rows = [line for line in lines if "healthy" in line]
    assert len(rows) == 2
    assert all("ready" in row for row in rows)
    text = " ".join(" ".join(lines).split())
    assert (
        "exited with status 1: ModuleNotFoundError: No module named 'shop'; 4 failed starts in a row; next try at "
        in text
    )


@pytest.mark.parametrize("width", WIDTHS)
def test_an_event_is_a_time_and_words_beside_it(width: int) -> None:
    """What takes more than a line goes on below the words, not below the time."""
    event = {
        "id": 1, "at": "2026-11-30T12:00:05.123Z", "kind": "rollout.failed", "pool": "web", "rollout": "r1",
        "outcome": "failed", "detail": "the replacement in slot 0 failed: exited with status 1 before it was ready",
    }  # fmt: skip
    first, *more = drawn(draw_event(event, datetime(2026, 11, 30, 13, tzinfo=UTC)), width)
    assert first.startswith("12:00:05 web: rollout r1 failed: the")
    assert all(line.startswith(" " * 9) for line in more)
    assert " ".join(" ".join([first, *more]).split()).endswith("exited with status 1 before it was ready")
    other = drawn(draw_event(event, datetime(2026, 12, 1, tzinfo=UTC)), width)
    assert other[0].startswith("2026-11-30 12:00:05 web:")


def test_the_report_of_a_slot_has_lines_of_its_own_where_the_table_does_not_fit() -> None:
    """Every number of the table is in them."""
    assert list(slot_lines(STEPS[0])) == [
        "slot 0: done, generation 1 to 2, 12.5 s",
        "  starting 1.0 s, draining 12.0 s, stopping 0.2 s",
        "  3 drained, 0 held, 0 retried, 1 cut, longest delay 0.5 s",
    ]
    assert all(len(line) <= 60 for line in slot_lines(STEPS[0]))


@pytest.mark.parametrize("width", WIDTHS)
async def test_the_verbs_fit_a_terminal(width: int) -> None:
    """As they are typed; lines that are no part of a table are folded by the terminal."""
    async with open_fake_proxy() as proxy:
        assert (await cli("reload", "web", "--admin", proxy.url)).code == 0
        code, status = await on_terminal("status", "--admin", proxy.url, COLUMNS=str(width))
        assert code == 0
        code, whole = await on_terminal("rollouts", "r1", "--admin", proxy.url, COLUMNS=str(width))
        assert code == 0
        code, reloaded = await on_terminal("reload", "web", "--admin", proxy.url, COLUMNS=str(width))
        assert code == 0
    assert "…" not in status + whole + reloaded
    assert ("slot 0: done" in whole) is (width == 50) or width == 80
    assert "rollout r2 of pool web: done, 2 of 2 slots replaced" in reloaded
