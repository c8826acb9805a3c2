"""What pump.io promised of its restarts, one test for each row of the checklist, in its order and by its numbers.

A worker is a backend here, the master the proxy, a restart a rollout, and an aborted one leaves its pool locked. Each
test runs a proxy of its own with real processes; where a row is about a moment, a file holds that moment still.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.support.admin import AdminEvent
from tests.support.client import Response, Target, fetch, open_connection
from tests.support.pools import command_pool, table
from tests.support.releases import GOOD
from tests.support.shop import BROKEN, PLAIN, program, run_shop, waits_for

EPOCH: dict[str, Any] = {"compatibility": {"file": "RESTART_EPOCH"}}
"""Settings of a pool with a magic number."""

HOLDS_A_REQUEST = """
import asyncio, pathlib
from demo import app as demo

async def app(scope, receive, send):
    if scope.get("path") != "/held":
        return await demo(scope, receive, send)
    while not pathlib.Path(GATE).exists():
        await asyncio.sleep(0.01)
    await demo({**scope, "path": "/ledger"}, receive, send)
    print("shop: request ended", flush=True)
"""

READY_LATE = """
import pathlib, threading, time
from faulty.plain import main
from faulty.threaded import tell_supervisor

def tell():
    while not pathlib.Path(GATE).exists():
        time.sleep(0.01)
    tell_supervisor(b"READY=1")

threading.Thread(target=tell, daemon=True).start()
main([])
"""

EXITS_WHEN_ASKED = """
import os, socket
from faulty.plain import answer
from faulty.threaded import ThreadedServer

def handler(exchange):
    if exchange.path == "/exit":
        os._exit(7)
    answer(exchange)

server = ThreadedServer(socket.socket(fileno=3), handler, name="shop")
server.ignore_stop = True
server.serve()
"""


def another_pool(name: str, directory: Path, **settings: Any) -> str:
    """A plain pool beside `web`."""
    return command_pool(directory, "faulty.plain", **settings).replace("[pools.web]", f"[pools.{name}]")


def most_out(events: Iterable[AdminEvent], size: int) -> int:
    """How many slots were without a backend in rotation at the worst moment of a rollout."""
    places: dict[int, tuple[int, str, str]] = {}
    worst = 0
    rolling = False
    for event in events:
        rolling = rolling or event.kind == "rollout.started"
        number = event.data.get("backend")
        if number is not None:
            slot, state, health = places.get(number, (event.data["slot"], "starting", "healthy"))
            match event.kind.partition(".")[2]:
                case "health":
                    health = event.data["health"]
                case "removed":
                    state = "removed"
                case "ready" | "draining" | "stopping" | "stopped" | "failed" as after:
                    state = after
            places[number] = (slot, state, health)
        if rolling:
            serving = {slot for slot, state, health in places.values() if state == "ready" and health == "healthy"}
            worst = max(worst, size - len(serving))
    return worst


async def test_row_1_sigusr2_to_the_proxy_starts_one_rollout_and_is_harmless_to_backends(tmp_path: Path):
    """One signal, one rollout of every slot; to a backend, also while it boots, the signal is nothing."""
    gate = tmp_path / "gate"
    async with run_shop(tmp_path) as shop:
        old = await shop.pids()
        shop.releases.deploy(waits_for(gate))
        for pid in old.values():
            os.killpg(pid, signal.SIGUSR2)
        shop.signal()
        booting = (await shop.event("backend.added", generation=2)).data["pid"]
        os.kill(booting, signal.SIGUSR2)
        os.killpg(booting, signal.SIGUSR2)
        gate.touch()
        events = await shop.told("rollout.done")
        await shop.wait_record("rollout.done")
        new = await shop.pids()
        assert booting in new.values()
        assert not set(old.values()) & set(new.values())
        assert [event.data["trigger"] for event in events if event.kind == "rollout.started"] == ["signal"]
        assert not shop.records("backend.crashed")


async def test_row_2_one_worker_or_none_is_refused(tmp_path: Path):
    """With one slot the trigger is refused, the reason is logged, and the backend is not touched."""
    async with run_shop(tmp_path, size=1) as shop:
        before = await shop.pids()
        record = await shop.refused_signal()
        assert (record["code"], record["level"]) == ("pool-too-small", "warning")
        assert "at least 2" in record["detail"]
        assert await shop.pids() == before


async def test_row_3_a_store_for_one_process_is_refused(tmp_path: Path):
    """An app whose store admits one process at a time is not rolled, with a reason of its own."""
    async with run_shop(tmp_path, storage={"shared": False}) as shop:
        before = await shop.pids()
        record = await shop.refused_signal()
        assert (record["code"], record["level"]) == ("storage-exclusive", "warning")
        assert await shop.pids() == before


async def test_row_4_a_trigger_during_a_rollout_is_refused(tmp_path: Path):
    """It is told which rollout runs, and that one goes on as if nothing had been asked."""
    gate = tmp_path / "gate"
    async with run_shop(tmp_path) as shop:
        shop.releases.deploy(waits_for(gate))
        rollout = await shop.begin()
        problem = await shop.refusal()
        assert (problem["code"], problem["state"]["rollout"]) == ("rollout-in-progress", rollout)
        assert (await shop.refused_signal())["code"] == "rollout-in-progress"
        gate.touch()
        report = await shop.finished(rollout)
        assert (report["outcome"], [slot["state"] for slot in report["slots"]]) == ("done", ["done", "done"])
        assert await shop.generations() == {0: 2, 1: 2}
        assert len(shop.records("rollout.started")) == 1


async def test_row_5_after_a_failed_rollout_every_trigger_is_refused(tmp_path: Path):
    """For good, also when the code is repaired: the operator is told what ends it, and has to do that."""
    async with run_shop(tmp_path) as shop:
        before = await shop.pids()
        shop.releases.deploy(BROKEN)
        assert (await shop.roll())["locked"]
        shop.releases.deploy(PLAIN)
        for _ in range(3):
            record = await shop.refused_signal()
            assert (record["code"], record["level"]) == ("pool-locked", "warning")
            assert "hotswap unlock web" in record["detail"]
        assert (await shop.refusal())["code"] == "pool-locked"
        assert await shop.pids() == before


async def test_row_6_another_magic_number_is_refused(tmp_path: Path):
    """The number is captured at the start, read afresh at each trigger, and any difference refuses, a lower one too."""
    async with run_shop(tmp_path, files={"RESTART_EPOCH": "1\n"}, **EPOCH) as shop:
        before = await shop.pids()
        (shop.releases.current / "RESTART_EPOCH").write_text("9\n")
        for number in ("9", "2", "0"):
            problem = await shop.refusal()
            assert problem["code"] == "compatibility-mismatch"
            assert problem["state"]["compatibility"] == {"running": "1", "offered": number}
            following = {"9": "2", "2": "0", "0": "1"}[number]
            shop.releases.deploy(files={"RESTART_EPOCH": following + "\n"}, source=PLAIN)
        assert await shop.pids() == before
        assert (await shop.roll())["outcome"] == "done"


async def test_row_7_the_first_reason_that_holds_is_the_answer(tmp_path: Path):
    """With everything wrong at once, each repair brings the next reason to light, in the order of the contract."""
    gate, fatal = tmp_path / "gate", tmp_path / "fatal"
    gate.touch()
    (tmp_path / "RESTART_EPOCH").write_text("1\n")
    extra = another_pool("small", tmp_path, size=1, storage={"shared": False}, **EPOCH)
    extra += another_pool("exclusive", tmp_path, storage={"shared": False}, **EPOCH)
    old = waits_for(gate)
    async with run_shop(tmp_path, old, files={"RESTART_EPOCH": "1"}, extra=extra, **EPOCH) as shop:
        shop.releases.deploy(waits_for(fatal, then=BROKEN), files={"RESTART_EPOCH": "1"})
        rollout = await shop.begin()
        shop.releases.deploy(files={"RESTART_EPOCH": "2"}, source=PLAIN)
        (tmp_path / "RESTART_EPOCH").write_text("2\n")
        shop.configure("[pools.small.sizzle]\n", **EPOCH)

        assert (await shop.refusal("small"))["code"] == "pool-too-small"
        assert (await shop.refusal("exclusive"))["code"] == "storage-exclusive"
        assert (await shop.refusal())["code"] == "rollout-in-progress"
        fatal.touch()
        assert (await shop.finished(rollout))["outcome"] == "failed"
        gate.unlink()
        os.kill((await shop.pids())[0], signal.SIGKILL)
        await shop.wait_record("backend.not_respawned", slot=0)
        assert (await shop.refusal())["code"] == "pool-locked"
        (await shop.hotswap.admin.call("POST", "/v1/pools/web/unlock")).expect()
        # A slot that is empty refuses nothing; one that an operator has drained does, where no other would serve.
        assert (await shop.refusal())["code"] == "compatibility-mismatch"
        gate.touch()
        await shop.full()
        (await shop.hotswap.admin.call("POST", "/v1/pools/web/slots/0/drain")).expect()
        assert (await shop.refusal())["code"] == "not-ready"
        (await shop.hotswap.admin.call("POST", "/v1/pools/web/slots/0/readmit")).expect()
        assert (await shop.refusal())["code"] == "compatibility-mismatch"
        shop.releases.deploy(PLAIN)
        assert (await shop.refusal())["code"] == "compatibility-unreadable"
        shop.releases.deploy(files={"RESTART_EPOCH": "1"}, source=PLAIN)
        assert (await shop.refusal())["code"] == "config-invalid"
        shop.configure(**EPOCH)
        assert (await shop.roll())["outcome"] == "done"


async def test_row_8_every_worker_of_the_snapshot_is_replaced_exactly_once(tmp_path: Path):
    """In random order by default, by age when the configuration says so."""
    size = 4
    generation = 1
    orders: list[tuple[int, ...]] = []
    async with run_shop(tmp_path, size=size) as shop:

        async def order_of_a_rollout() -> tuple[int, ...]:
            nonlocal generation
            before = await shop.pids()
            report = await shop.roll()
            generation += 1
            assert report["outcome"] == "done"
            assert not set(before.values()) & set((await shop.pids()).values())
            events = await shop.told("rollout.done", rollout=report["id"])
            added = [event.data for event in events if event.kind == "backend.added"]
            started = [data["slot"] for data in added if data["generation"] == generation]
            order = tuple(slot["slot"] for slot in report["slots"])
            assert tuple(started) == order
            assert sorted(order) == list(range(size))
            return order

        # Two in a row may be the same by chance; that they are for ever is what the deadline of the test finds.
        while len(set(orders)) < 2:
            orders.append(await order_of_a_rollout())
        for order, expected in (("newest-first", orders[-1][::-1]), ("oldest-first", orders[-1][::-1])):
            shop.configure(size=size, rollout={"order": order})
            assert await order_of_a_rollout() == expected


@pytest.mark.parametrize(("strategy", "out"), [("drain-first", 1), ("stop-first", 1), ("surge", 0)])
async def test_row_9_never_more_than_one_worker_is_out_of_service(tmp_path: Path, strategy: str, out: int):
    """At every single change of state, all slots but one are in rotation; under surge, all of them."""
    async with run_shop(tmp_path, size=3, strategy=strategy) as shop:
        assert (await shop.roll())["outcome"] == "done"
        assert most_out(await shop.told("rollout.done"), 3) == out


@pytest.mark.parametrize(
    ("settings", "source", "path", "last_lines", "exits"),
    [
        pytest.param(
            {"app": "shop:app"},
            GOOD,
            "/upload",
            ["demo: last request done", "demo: database closed", "demo: exit"],
            # uvicorn finishes, and then ends itself by the signal that it had held back
            {"exit code 0", "stopped"},
            id="with-a-database",
        ),
        pytest.param(
            {},
            PLAIN,
            "/echo",
            ["plain: stopping with 0 in flight, 0 connections", "plain: last request done", "plain: exit"],
            {"exit code 0"},
            id="plain",
        ),
    ],
)
async def test_row_10_a_worker_drains_in_order(
    tmp_path: Path, settings: dict[str, Any], source: str, path: str, last_lines: list[str], exits: set[str]
):
    """Nothing new goes in, what is in flight ends, connections close, it is told, its stores close, it exits with 0."""
    async with run_shop(tmp_path, source, strategy="stop-first", **settings) as shop:
        async with open_connection(await shop.hotswap.target()) as client:
            await client.send_head("POST", path, headers=[("Content-Length", "8")])
            await client.send_body(b"half")
            old = await shop.in_flight()
            slot = old["slot"]
            rollout = await shop.begin()
            await shop.event("backend.draining", slot=slot)
            others = [(await shop.hotswap.fetch("/whoami")).expect().json()["slot"] for _ in range(4)]
            assert others == [1 - slot] * 4
            await client.send_body(b"full")
            await client.send_end()
            status, _ = await client.head()
            await client.body()
            assert status == 200
        assert (await shop.finished(rollout))["outcome"] == "done"
        kinds = [event.kind for event in await shop.told("rollout.done") if event.data.get("backend") == old["id"]]
        turns = ["backend.draining", "backend.drained", "backend.stopping", "backend.exited"]
        assert [kind for kind in kinds if kind in turns] == turns
        said = shop.output(slot=slot, generation=1)
        ended = [line.partition(" (")[0] for line in said if line.startswith(("demo: ", "plain: "))]
        assert ended[-len(last_lines) :] == last_lines
        assert (await shop.event("backend.exited", backend=old["id"])).data["exit"] in exits


async def test_row_11_the_database_closes_behind_the_last_request(tmp_path: Path):
    """Also when the proxy's patience is over and it has told the backend to stop with a request inside."""
    gate = tmp_path / "gate"
    source = HOLDS_A_REQUEST.replace("GATE", repr(str(gate)))
    async with run_shop(tmp_path, source, app="shop:app", drain_timeout="200ms") as shop:
        answers: list[Response] = []
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                answers.append(await shop.hotswap.fetch("/held"))

            nursery.start_soon(ask)
            slot = (await shop.in_flight())["slot"]
            rollout = await shop.begin()
        assert [answer.status for answer in answers] == [503]
        await shop.wait_record("backend.output", slot=slot, generation=1, line="INFO:     Shutting down")
        gate.touch()
        assert (await shop.finished(rollout))["outcome"] == "done"
        said = [line.partition(" (")[0] for line in shop.output(slot=slot, generation=1)]
        order = ["shop: request ended", "demo: last request done", "demo: database closed"]
        assert [line for line in said if line in order] == order


async def test_row_12_under_stop_first_the_old_one_is_gone_before_the_new_one_starts(tmp_path: Path):
    """No moment with both, and the new one runs the new code with the new configuration."""
    tells = 'import os\nprint("shop: code {}, colour", os.environ["COLOUR"], flush=True)\n'
    settings: dict[str, Any] = {"strategy": "stop-first"}
    first = program("plain", first=tells.format("one"))
    async with run_shop(tmp_path, first, environment={"COLOUR": "red"}, **settings) as shop:
        shop.configure(environment={"COLOUR": "blue"}, **settings)
        shop.releases.deploy(program("plain", first=tells.format("two")))
        shop.signal()
        events = await shop.told("rollout.done")
        await shop.wait_record("rollout.done")
        for slot in (0, 1):
            life = [
                (event.kind, event.data["generation"])
                for event in events
                if event.kind in ("backend.added", "backend.exited") and event.data["slot"] == slot
            ]
            assert life == [("backend.added", 1), ("backend.exited", 1), ("backend.added", 2)]
            assert "shop: code one, colour red" in shop.output(slot=slot, generation=1)
            assert "shop: code two, colour blue" in shop.output(slot=slot, generation=2)


async def test_row_13_the_next_turn_waits_until_the_new_one_says_that_it_listens(tmp_path: Path):
    """A replacement that answers already, but has not said READY=1, holds the rollout up; then it goes on."""
    gate = tmp_path / "gate"
    async with run_shop(tmp_path, program("plain", "--notify"), ready="notify") as shop:
        shop.releases.deploy(READY_LATE.replace("GATE", repr(str(gate))))
        rollout = await shop.begin()
        first = (await shop.event("backend.added", generation=2)).data["slot"]
        new = await shop.in_slot(first, "starting")
        target = Target(address=Path(new["address"].removeprefix("unix:")))
        (await fetch(target, "/healthz")).expect()
        assert (await shop.in_slot(first, "starting"))["pid"] == new["pid"]
        assert [slot["state"] for slot in (await shop.report(rollout))["slots"]] == ["starting-drained", "pending"]
        gate.touch()
        assert (await shop.finished(rollout))["outcome"] == "done"
        starts = [
            (event.kind, event.data["slot"])
            for event in await shop.told("rollout.done")
            if event.kind in ("backend.added", "backend.ready") and event.data["generation"] == 2
        ]
        second = 1 - first
        assert starts == [
            ("backend.added", first),
            ("backend.ready", first),
            ("backend.added", second),
            ("backend.ready", second),
        ]


async def test_row_14_a_drain_that_takes_too_long_ends_in_a_kill_and_the_rollout_goes_on(tmp_path: Path):
    """What is left is cut, the process is killed, both with a warning, and neither is a failure."""
    deaf = program("faults", "ignores-sigterm")
    async with run_shop(tmp_path, deaf, drain_timeout="300ms", stop_timeout="300ms") as shop:
        old = await shop.pids()
        answers: list[Response] = []
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                answers.append(await shop.hotswap.fetch("/slow?seconds=600"))

            nursery.start_soon(ask)
            slot = (await shop.in_flight())["slot"]
            report = await shop.roll()
        assert (report["outcome"], report["locked"]) == ("done", False)
        assert [turn["killed"] for turn in report["slots"]] == [True, True]
        assert {turn["slot"]: turn["exchanges"]["cut"] for turn in report["slots"]} == {slot: 1, 1 - slot: 0}
        assert [answer.status for answer in answers] == [503]
        (cut,) = shop.records("backend.drain_timed_out")
        assert (cut["level"], cut["pid"]) == ("warning", old[slot])
        killed = shop.records("backend.killed")
        assert {record["pid"] for record in killed} == set(old.values())
        assert {record["level"] for record in killed} == {"warning"}


@pytest.mark.parametrize("strategy", ["drain-first", "stop-first", "surge"])
async def test_row_15_a_replacement_that_dies_before_it_is_ready_ends_the_rollout(tmp_path: Path, strategy: str):
    """The old backends that are left are not touched and serve on; nothing else is started."""
    async with run_shop(tmp_path, size=3, strategy=strategy) as shop:
        before = await shop.pids()
        shop.releases.deploy(BROKEN)
        report = await shop.roll()
        assert (report["outcome"], report["reason"], report["locked"]) == ("failed", "exited", True)
        assert [turn["state"] for turn in report["slots"]] == ["failed", "pending", "pending"]
        tried = report["slots"][0]["slot"]
        if strategy == "stop-first":
            del before[tried]
        assert await shop.pids() == before
        served = {(await shop.hotswap.fetch("/whoami")).expect().json()["pid"] for _ in range(6)}
        assert served == set(before.values())
        assert len(shop.records("backend.starting", generation=2)) == 1


async def test_row_16_a_replacement_that_cannot_listen_ends_the_rollout(tmp_path: Path):
    """What the system said about it is in the log and in the report."""
    async with run_shop(tmp_path, program("plain", "--notify"), ready="notify") as shop:
        before = await shop.pids()
        shop.releases.deploy(program("faults", "cannot-serve"))
        report = await shop.roll()
        assert (report["outcome"], report["reason"]) == ("failed", "cannot-serve")
        (record,) = shop.records("rollout.replacement_failed")
        for told in (report["detail"], record["detail"]):
            assert "Address already in use (EADDRINUSE)" in told
        assert record["level"] == "error"
        assert await shop.pids() == before


async def test_row_17_after_a_failed_rollout_nothing_that_dies_is_respawned(tmp_path: Path):
    """Each death is an error that says what to do; a pool that is not locked is respawned meanwhile."""
    async with run_shop(tmp_path, extra=another_pool("other", tmp_path)) as shop:
        shop.releases.deploy(BROKEN)
        assert (await shop.roll())["locked"]
        locked = await shop.pids()
        for slot, pid in locked.items():
            os.kill(pid, signal.SIGKILL)
            record = await shop.wait_record("backend.not_respawned", slot=slot)
            assert (record["level"], record["pid"]) == ("error", pid)
            assert "hotswap unlock web" in record["detail"]
        # The time that a respawn takes, measured beside it.
        other = (await shop.pids("other"))[0]
        os.kill(other, signal.SIGKILL)
        await shop.wait_record("backend.starting", pool="other", reason="crash")
        assert await shop.backends() == []
        answer = await shop.hotswap.fetch("/")
        assert answer.status == 503
        assert answer.header("retry-after")


async def test_row_18_otherwise_whatever_crashes_is_respawned(tmp_path: Path):
    """In its slot, with the generation it had, as often as it happens."""
    async with run_shop(tmp_path) as shop:
        killed: list[int] = []
        for slot in (0, 1, 0):
            victim = (await shop.pids())[slot]
            os.kill(victim, signal.SIGKILL)
            killed.append(victim)
            await shop.full(without=killed)
        assert await shop.generations() == {0: 1, 1: 1}
        while len(started := shop.records("backend.starting", reason="crash")) < 3:
            await shop.hotswap.wait_more()
        assert [record["slot"] for record in started] == [0, 1, 0]


async def test_row_19_the_log_says_all_of_it_at_the_right_level(tmp_path: Path):
    """Beginning and end at info, refusals and kills as warnings, deaths as errors with process id and exit status."""
    async with run_shop(tmp_path, EXITS_WHEN_ASKED, stop_timeout="300ms") as shop:
        old = await shop.pids()
        rollout = await shop.begin()
        assert (await shop.refusal())["code"] == "rollout-in-progress"
        assert (await shop.finished(rollout))["outcome"] == "done"
        new = await shop.pids()
        assert (await shop.hotswap.fetch("/exit", method="POST")).status == 502
        crashed = await shop.wait_record("backend.crashed")
        assert crashed["pid"] in new.values()
        assert (crashed["level"], crashed["exit"]) == ("error", "exit code 7")
        await shop.full(without=[crashed["pid"]])
        (survivor,) = set(new.values()) - {crashed["pid"]}
        os.kill(survivor, signal.SIGKILL)
        shot = await shop.wait_record("backend.crashed", pid=survivor)
        assert (shot["level"], shot["exit"]) == ("error", "killed by SIGKILL")

        levels = {(record["event"], record["level"]) for record in shop.hotswap.records()}
        assert {("rollout.started", "info"), ("rollout.done", "info"), ("rollout.refused", "warning")} <= levels
        killed = shop.records("backend.killed")
        assert {(record["level"], record["pid"]) for record in killed} == {("warning", pid) for pid in old.values()}


async def test_row_20_a_rollout_that_is_done_makes_room_for_the_next(tmp_path: Path):
    """Three signals, one behind the end of the other, three rollouts."""
    async with run_shop(tmp_path) as shop:
        for number in (1, 2, 3):
            shop.signal()
            await shop.event("rollout.done", rollout=f"r{number}")
            assert (await shop.hotswap.pool())["rollout"] is None
            assert await shop.generations() == {0: number + 1, 1: number + 1}


async def test_row_21_the_bounce_listener_answers_throughout(tmp_path: Path):
    """301 to the same host and path over https, at every moment of a rollout, and with no backend left at all."""
    bounce = {"bind": ["127.0.0.1:0"], "redirect": {"scheme": "https", "port": 8443, "status": 301}}
    async with run_shop(tmp_path, extra=table("listeners.bounce", bounce)) as shop:
        target = await shop.hotswap.target("bounce", host="shop.example")

        async def ask() -> None:
            answer = await fetch(target, "/a/b%20c?d=e&f")
            assert answer.status == 301
            assert answer.header("location") == "https://shop.example:8443/a/b%20c?d=e&f"

        asked = 0
        rollout = await shop.begin()
        while (await shop.report(rollout))["outcome"] == "running":
            await ask()
            asked += 1
        assert asked >= 2
        shop.releases.deploy(BROKEN)
        assert (await shop.roll())["locked"]
        for pid in (await shop.pids()).values():
            os.kill(pid, signal.SIGKILL)
        await shop.event("pool.hopeless")
        await ask()
