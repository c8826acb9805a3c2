"""`hotswap events`: the last ones, then each as it comes."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import AsyncIterator

import pytest
import trio

from hotswap.cli.event_stream import LAST, event_line, event_words
from tests.support.command_line import cli, command, environment
from tests.support.fake_runtime import FakeProxy, open_fake_proxy
from tests.support.terminal import open_terminal


@pytest.fixture
async def proxy() -> AsyncIterator[FakeProxy]:
    """A fake proxy whose admin API answers."""
    async with open_fake_proxy() as fake:
        yield fake


def test_an_event_is_a_line_that_can_be_read_and_split() -> None:
    """A report is told by its summary, what is empty is left out, what has spaces stands in quotes."""
    slots = [{"slot": 0, "state": "done", "exchanges": {"retried": 0, "held": 2, "cut": 0}}]
    report = {"id": "r1", "pool": "web", "outcome": "done", "seconds": 1.23, "slots": slots}
    event = {"id": 7, "at": "T", "kind": "rollout.report", "pool": "web", "detail": "", "exit": "by SIGTERM", "n": True}
    assert event_line(event) == 'T rollout.report pool=web exit="by SIGTERM" n=true'
    assert event_line({**event, "report": report}).endswith(
        'report="rollout r1 of pool web: done, 1 of 1 slots replaced in 1.2 s, 2 held"'
    )


def test_an_event_in_words_has_no_keys_and_says_an_end_once() -> None:
    """What several events say of one end is said by the last of them."""
    told = {"pool": "web", "rollout": "r1", "outcome": "aborted", "reason": "aborted"}
    ends = [
        {"kind": "rollout.step", "slot": 0, "state": "aborted", **told},
        {"kind": "rollout.slot_aborted", "slot": 0, "state": "aborted", **told},
        {"kind": "rollout.report", "report": {}, **told},
        {"kind": "rollout.aborted", "detail": "ended by an operator", **told},
    ]
    words = [event_words(event) for event in ends]
    assert words == [None, None, None, "web: rollout r1 aborted: ended by an operator"]


async def test_the_last_20_are_shown_and_then_each_that_comes(proxy: FakeProxy) -> None:
    """In their order, none twice, as lines and as JSON."""
    events = proxy.runtime.events
    for number in range(1, 31):
        events.publish("backend.ready", pool="web", slot=number)
    for options in ([], ["--json"]):
        process = await trio.lowlevel.open_process(
            command("events", *options, "--admin", proxy.url), stdout=-1, stderr=-1, env=environment()
        )
        assert process.stdout is not None
        shown = bytearray()
        first = events.last_id - LAST + 1
        async for chunk in process.stdout:
            shown.extend(chunk)
            if shown.count(b"\n") == LAST:
                events.publish("backend.drained", pool="web", slot=events.last_id + 1)
            if shown.count(b"\n") == LAST + 1:
                break
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0
        lines = shown.decode().splitlines()
        slots = [json.loads(line)["slot"] if options else int(line.rpartition("=")[2]) for line in lines]
        assert slots == list(range(first, first + LAST + 1))


async def test_a_proxy_without_events_shows_those_that_come(proxy: FakeProxy) -> None:
    """Whoever waits for the last ones misses none."""
    process = await trio.lowlevel.open_process(
        command("events", "--admin", proxy.url), stdout=-1, stderr=-1, env=environment()
    )
    assert process.stdout is not None
    while not proxy.runtime.events.subscriptions:
        await trio.sleep(0.01)
    proxy.runtime.events.publish("pool.paused", pool="web")
    assert b"pool.paused pool=web" in await process.stdout.receive_some()
    process.send_signal(signal.SIGINT)
    assert await process.wait() == 0


async def test_a_terminal_shows_them_in_words(proxy: FakeProxy) -> None:
    """A time, a place and words; 20 that say something, however many are left out."""
    events = proxy.runtime.events
    for slot in range(LAST + 5):
        events.publish("backend.added", pool="web", slot=slot, state="starting")
        events.publish("backend.exited", pool="web", slot=slot, reason="stopped", exit="stopped")
    async with open_terminal(command("events", "--admin", proxy.url), columns=50) as terminal:
        await terminal.wait_text(f"web/{LAST + 4}: stopped")
        events.publish("pool.locked", pool="web", reason="rollout r1 failed: \x1b[2Jboom")
        await terminal.wait_text("unlock")
        terminal.type("\x03")
        assert await terminal.process.wait() == 0
    lines = [line for line in terminal.lines if re.match(r"\d\d:\d\d:\d\d web", line)]
    assert [line[9:].rstrip() for line in lines[:LAST]] == [f"web/{slot}: stopped" for slot in range(5, LAST + 5)]
    assert lines[LAST][9:].rstrip() == "web: locked: rollout r1 failed:"
    assert r"\x1b[2Jboom" in terminal.text


async def test_events_are_shown_as_they_happen_and_again_after_a_restart(proxy: FakeProxy) -> None:
    """From a number on, one a line, as text or as JSON."""
    events = proxy.runtime.events
    events.publish("backend.ready", pool="web", slot=0, detail="\x07")
    for options in ([], ["--json"]):
        process = await trio.lowlevel.open_process(
            command("events", "--after", "0", *options, "--admin", proxy.url), stdout=-1, stderr=-1, env=environment()
        )
        assert process.stdout is not None
        shown = bytearray()
        async for chunk in process.stdout:
            shown.extend(chunk)
            if shown.count(b"\n") == 1 and not options:
                events.publish("backend.drained", pool="web", slot=1)
            if shown.count(b"\n") == 2:
                break
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0
        lines = shown.decode().splitlines()
        if options:
            assert [json.loads(line)["kind"] for line in lines] == ["backend.ready", "backend.drained"]
        else:
            assert lines[0].split(" ", 1)[1] == r"backend.ready pool=web slot=0 detail=\x07"
            assert lines[1].endswith("backend.drained pool=web slot=1")


async def test_events_of_a_proxy_that_is_not_there_is_an_error() -> None:
    """1, at once."""
    async with open_fake_proxy() as gone:
        url = gone.url
    result = await cli("events", "--admin", url)
    assert result.code == 1
    assert "no proxy can be reached" in result.stderr
