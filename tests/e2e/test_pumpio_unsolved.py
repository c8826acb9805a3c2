"""What pump.io left unsolved, one test for each row of the second checklist, in its order and by its numbers.

Each test runs a proxy of its own with real processes; where a row is about a moment, a file holds that moment still.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import trio
from websockets.exceptions import ConnectionClosed
from websockets.trio.client import connect as connect_websocket

from tests.support.admin import AdminEvent
from tests.support.client import Connection, Response, Target, connect, open_connection
from tests.support.clients import FreshGet
from tests.support.hotswap import living, wait_gone
from tests.support.load import run_load
from tests.support.pools import command_pool
from tests.support.releases import GOOD
from tests.support.shop import BROKEN, PLAIN, Shop, program, run_shop, waits_for

EPOCH: dict[str, Any] = {"compatibility": {"file": "RESTART_EPOCH"}}
"""Settings of a pool with a magic number."""

SERVICE_RESTART = 1012
"""The code of a close frame that asks the client to come back."""

LEAVES_A_CHILD = """
import subprocess
print("child", subprocess.Popen(["sleep", "600"]).pid, flush=True)
"""

DIES_OF_THE_FIRST_ORDER = """
import os, pathlib, signal, socket
from faulty.plain import answer
from faulty.threaded import ThreadedServer

MARKER, LEDGER = map(pathlib.Path, PATHS)

def handler(exchange):
    if exchange.path == "/order":
        with LEDGER.open("a") as ledger:
            ledger.write(exchange.method + "\\n")
        if not MARKER.exists():
            MARKER.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    answer(exchange)

ThreadedServer(socket.socket(fileno=3), handler, name="shop").serve()
"""


class Ask(FreshGet):
    """GET of who answers, over a new connection each time; the plain backend knows no release."""

    kind = "ask"

    async def _get(self, connection: Connection) -> None:
        response = (await connection.request("GET", "/whoami")).expect()
        assert {"pid", "slot", "generation"} <= self.expect_json(response.body).keys()


def moment(event: AdminEvent) -> float:
    """When an event happened, by the proxy's clock, in seconds."""
    return datetime.fromisoformat(event.data["at"]).timestamp()


async def unlock(shop: Shop) -> None:
    """End the lock of the pool and wait until it is whole again."""
    (await shop.hotswap.admin.call("POST", "/v1/pools/web/unlock")).expect()
    await shop.full()


async def test_row_1_every_end_of_a_trigger_makes_room_for_the_next(tmp_path: Path):
    """Refused, failed, aborted or done: nothing is in progress afterwards, and a good trigger works."""
    async with run_shop(tmp_path, files={"RESTART_EPOCH": "1"}, **EPOCH) as shop:

        async def works() -> None:
            assert (await shop.hotswap.pool())["rollout"] is None
            shop.releases.deploy(PLAIN, files={"RESTART_EPOCH": "1"})
            assert (await shop.roll())["outcome"] == "done"
            assert (await shop.hotswap.pool())["rollout"] is None

        shop.releases.deploy(PLAIN, files={"RESTART_EPOCH": "2"})
        assert (await shop.refusal())["code"] == "compatibility-mismatch"
        await works()

        shop.configure(sizzle=1, **EPOCH)
        assert (await shop.refusal())["code"] == "config-invalid"
        shop.configure(**EPOCH)
        await works()

        shop.releases.deploy(waits_for(tmp_path / "never"), files={"RESTART_EPOCH": "1"})
        rollout = await shop.begin()
        await shop.event("backend.added", generation=4)
        (await shop.hotswap.admin.call("POST", "/v1/pools/web/abort")).expect()
        assert (await shop.finished(rollout))["outcome"] == "aborted"
        await works()

        shop.releases.deploy(BROKEN, files={"RESTART_EPOCH": "1"})
        assert (await shop.roll())["outcome"] == "failed"
        await unlock(shop)
        await works()


async def test_row_2_a_crash_after_a_good_rollout_is_an_ordinary_one(tmp_path: Path):
    """The backend that was replaced last dies later: it is respawned, and the next rollout is accepted."""
    async with run_shop(tmp_path) as shop:
        report = await shop.roll()
        last = report["slots"][-1]["slot"]
        victim = (await shop.pids())[last]
        os.kill(victim, signal.SIGKILL)
        await shop.full(without=[victim])
        assert await shop.generations() == {0: 2, 1: 2}
        assert (await shop.hotswap.pool())["locked"] is None
        assert (await shop.roll())["outcome"] == "done"


async def test_row_3_a_queued_worker_that_crashes_before_its_turn_confuses_nobody(tmp_path: Path):
    """It is respawned from the old release in its slot, has its turn as planned, and no two turns overlap."""
    gate = tmp_path / "gate"
    async with run_shop(tmp_path, size=3) as shop:
        shop.releases.deploy(waits_for(gate))
        rollout = await shop.begin()
        first = (await shop.event("backend.added", generation=2)).data["slot"]
        queued = (first + 1) % 3
        victim = (await shop.in_slot(queued))["pid"]
        os.kill(victim, signal.SIGKILL)
        exited = await shop.event("backend.exited", pid=victim)
        await shop.event("backend.ready", after=exited.number, slot=queued)
        respawned = await shop.in_slot(queued)
        assert (respawned["generation"], respawned["pid"] == victim) == (1, False)
        gate.touch()
        assert (await shop.finished(rollout))["outcome"] == "done"
        assert await shop.generations() == {0: 2, 1: 2, 2: 2}
        events = await shop.told("rollout.done")
        added = [(e.data["slot"], e.data["generation"]) for e in events if e.kind == "backend.added"]
        assert sorted(added) == sorted([(slot, number) for slot in range(3) for number in (1, 2)] + [(queued, 1)])
        turns = [event.data["slot"] for event in events if event.kind in ("rollout.step", "rollout.slot_done")]
        assert len([slot for slot, before in zip(turns, [None, *turns], strict=False) if slot != before]) == 3


async def test_row_4_a_replacement_that_hangs_has_a_deadline(tmp_path: Path):
    """After `start_timeout` it is killed, the rollout has failed, and the old backend serves again."""
    async with run_shop(tmp_path) as shop:
        before = await shop.pids()
        shop.configure(start_timeout="500ms")
        shop.releases.deploy(program("faults", "never-ready"))
        report = await shop.roll()
        assert (report["outcome"], report["reason"]) == ("failed", "timed-out")
        assert await shop.pids() == before
        hung = (await shop.event("backend.added", generation=2)).data["pid"]
        assert living([hung]) == []


async def test_row_5_a_stop_escalates_without_the_workers_cooperation(tmp_path: Path):
    """A process that stands still is asked, waited for, and killed, together with all that it started."""
    frozen = program("faults", "blocks-loop", first=LEAVES_A_CHILD)
    settings: dict[str, Any] = {"drain_timeout": "300ms", "stop_timeout": "300ms", "health": {"interval": "1h"}}
    async with run_shop(tmp_path, frozen, **settings) as shop:
        old = await shop.pids()
        shop.releases.deploy(PLAIN)
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(shop.hotswap.fetch, "/fault")
            await shop.all_in_flight()
            report = await shop.roll()
        assert report["outcome"] == "done"
        assert [(turn["killed"], turn["exchanges"]["cut"]) for turn in report["slots"]] == [(True, 1), (True, 1)]
        children = [int(line.partition(" ")[2]) for line in shop.output() if line.startswith("child ")]
        assert len(children) == 2
        for pid in (*old.values(), *children):
            await wait_gone(pid)


async def test_row_6_nothing_that_a_worker_sends_or_a_release_holds_stops_the_proxy(tmp_path: Path):
    """Malformed messages are ignored, a magic number that cannot be read is a refusal; both are told."""
    numbers = {"nothing": None, "empty": b"", "binary": b"\xff\x00\xfe", "endless": b"1" * 100_000}
    source = program("plain", "--notify")
    async with run_shop(tmp_path, source, files={"RESTART_EPOCH": "1"}, ready="notify", **EPOCH) as shop:
        before = await shop.pids()
        for content in numbers.values():
            shop.releases.deploy(PLAIN)
            if content is not None:
                (shop.releases.current / "RESTART_EPOCH").write_bytes(content)
            assert (await shop.refusal())["code"] == "compatibility-unreadable"
        shop.releases.deploy(PLAIN)
        os.mkfifo(shop.releases.current / "RESTART_EPOCH")
        record = await shop.refused_signal()
        assert record["code"] == "compatibility-unreadable"
        assert "RESTART_EPOCH" in record["detail"]
        assert await shop.pids() == before

        shop.releases.deploy(program("faults", "malformed-notify"), files={"RESTART_EPOCH": "1"})
        assert (await shop.roll())["outcome"] == "done"
        ignored = shop.records("backend.notification_ignored")
        assert len({str(record["ignored"]) for record in ignored}) >= 5


async def test_row_7_a_reload_fills_what_is_not_ready_and_never_counts_it_as_ready(tmp_path: Path):
    """During boot, and while a crashed backend is coming back: what counts is who lives, not what is configured."""
    gate, number = tmp_path / "gate", tmp_path / "number"
    command = f"while ! test -e {number}; do sleep 0.01; done; cat {number}"
    settings: dict[str, Any] = {"compatibility": {"command": ["/bin/sh", "-c", command]}}
    async with run_shop(tmp_path, waits_for(gate), wait_ready=False, **settings) as shop:
        # What the backends are started from is still being read.
        await shop.wait_record("admin.listening")
        assert (await shop.refusal())["code"] == "not-ready"
        assert (await shop.refused_signal())["code"] == "not-ready"
        number.write_text("1\n")
        await shop.wait_record("backend.starting", slot=1)
        rollout = await shop.begin()
        gate.touch()
        assert (await shop.finished(rollout))["outcome"] == "done"
        await shop.full()

        gate.unlink()
        victim = (await shop.pids())[1]
        os.kill(victim, signal.SIGKILL)
        await shop.wait_record("backend.crashed", pid=victim)
        rollout = await shop.begin()
        gate.touch()
        report = await shop.finished(rollout)
        assert (report["outcome"], report["slots"][0]["slot"]) == ("done", 1)
        await shop.full()


async def test_row_8_a_replacement_is_asked_over_http_before_it_counts(tmp_path: Path):
    """One that runs, listens and answers, but with 500, fails the rollout; no client ever met it."""
    async with run_shop(tmp_path) as shop:
        before = await shop.pids()
        shop.configure(start_timeout="1s")
        shop.releases.deploy(program("faults", "answers-500"))
        async with run_load({"plain": await shop.hotswap.target()}, kinds=[Ask]) as load:
            report = await shop.roll()
            await load.wait_turns(3)
        assert (report["outcome"], report["reason"]) == ("failed", "unhealthy")
        assert "500" in report["detail"]
        load.assert_unharmed()
        assert await shop.pids() == before


async def test_row_9_the_ports_stay_open_with_no_worker_at_all(tmp_path: Path):
    """A request waits for the backend that is coming; when none is, it is told at once when to come back."""
    gate = tmp_path / "gate"
    gate.touch()
    async with run_shop(tmp_path, waits_for(gate)) as shop:
        gate.unlink()
        before = await shop.pids()
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)
            await shop.wait_record("backend.crashed", pid=pid)
        answers: list[Response] = []
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                answers.append(await shop.hotswap.fetch("/whoami"))

            nursery.start_soon(ask)
            await shop.hotswap.wait_until(lambda: held(shop))
            gate.touch()
        assert [answer.status for answer in answers] == [200]

        await shop.full(without=before.values())
        shop.releases.deploy(BROKEN)
        assert (await shop.roll())["locked"]
        for pid in (await shop.pids()).values():
            os.kill(pid, signal.SIGKILL)
        await shop.event("pool.hopeless")
        answer = await shop.hotswap.fetch("/")
        assert answer.status == 503
        assert int(answer.header("retry-after") or 0) > 0


async def held(shop: Shop) -> bool:
    """Whether a request waits for a backend."""
    return bool((await shop.hotswap.pool())["held"])


@pytest.mark.parametrize("strategy", ["drain-first", "surge"])
async def test_row_11_a_websocket_ends_only_when_the_drain_does(tmp_path: Path, strategy: str):
    """Until then it works; then it is closed with 1012, "service restart", and a new one can be opened at once."""
    drain = 1.0
    settings: dict[str, Any] = {"app": "shop:app", "drain_timeout": f"{drain:g}s", "strategy": strategy}
    async with run_shop(tmp_path, GOOD, **settings) as shop:
        target = await shop.hotswap.target()
        stream, _ = await connect(target)
        url = "ws://localhost/ws"
        async with connect_websocket(url, stream=stream, proxy=None) as session:
            await session.send("before")
            assert await session.recv() == "before"
            slot = (await shop.in_flight())["slot"]
            rollout = await shop.begin()
            draining = await shop.event("backend.draining", slot=slot)
            echoes = 0
            try:
                while True:
                    await session.send(f"draining {echoes}")
                    assert await session.recv() == f"draining {echoes}"
                    echoes += 1
            except ConnectionClosed:
                assert session.close_code == SERVICE_RESTART
        assert echoes > 0
        # The last quarter of the drain is there to close sessions one by one, so that they do not come back at once.
        drained = await shop.event("backend.stopping", slot=slot)
        assert moment(drained) - moment(draining) >= 0.75 * drain - 0.01
        await works_as_websocket(target)
        report = await shop.finished(rollout)
        assert report["outcome"] == "done"
        assert [entry["exchanges"]["tunnels_closed"] for entry in report["slots"] if entry["slot"] == slot] == [1]
        assert sum(entry["exchanges"]["cut"] for entry in report["slots"]) == 0
        await works_as_websocket(target)


async def works_as_websocket(target: Target) -> None:
    """Have one message echoed over a session of its own."""
    stream, _ = await connect(target)
    async with connect_websocket("ws://localhost/ws", stream=stream, proxy=None) as session:
        await session.send("hello")
        assert await session.recv() == "hello"


async def test_row_12_a_request_that_may_have_been_carried_out_is_not_sent_again(tmp_path: Path):
    """A POST that a dying backend had received is answered 502 and seen once; a GET goes on to another backend."""
    marker, ledger = tmp_path / "marker", tmp_path / "ledger"
    source = DIES_OF_THE_FIRST_ORDER.replace("PATHS", repr((str(marker), str(ledger))))
    async with run_shop(tmp_path, source) as shop:
        before = await shop.pids()
        answer = await shop.hotswap.fetch("/order", method="POST", body=b"one pair of shoes")
        assert answer.status == 502
        assert ledger.read_text() == "POST\n"
        crashed = await shop.wait_record("backend.crashed")
        assert crashed["pid"] in before.values()
        await shop.full(without=[crashed["pid"]])
        marker.unlink()
        (await shop.hotswap.fetch("/order")).expect()
        assert ledger.read_text() == "POST\nGET\nGET\n"


async def test_row_13_a_crash_loop_slows_down_and_is_named(tmp_path: Path):
    """Each wait is longer, boots that fail are told apart from crashes, and it ends by itself when it is repaired."""
    async with run_shop(tmp_path) as shop:
        shop_py = shop.releases.current / "shop.py"
        shop_py.write_text(BROKEN)
        victim = (await shop.pids())[0]
        os.kill(victim, signal.SIGKILL)
        loop = await shop.wait_record("slot.crash_looping")
        assert (loop["level"], loop["slot"]) == ("error", 0)
        (crashed,) = shop.records("backend.crashed")
        assert (crashed["pid"], crashed["exit"]) == (victim, "killed by SIGKILL")
        failed = shop.records("backend.failed", slot=0)
        assert {(record["level"], record["reason"]) for record in failed} == {("error", "exited")}
        assert "faulty: cannot find the table of orders" in failed[0]["output"]
        events = [event for event in await shop.told("backend.backoff", slot=0) if event.data.get("slot") == 0]
        assert [event.kind for event in events].count("backend.ready") == 1

        (await shop.hotswap.fetch("/whoami")).expect()
        shop_py.write_text(PLAIN)
        await shop.full(without=[victim])
        waits = await waits_between_starts(shop, 0)
        for crashes, wait in enumerate(waits):
            assert wait >= 0.1 * 2**crashes / 2, waits


async def waits_between_starts(shop: Shop, slot: int) -> list[float]:
    """Seconds from each end of a process to the start of the next one in a slot, so far."""
    last = await shop.event("backend.ready", slot=slot, generation=1, before="starting")
    waits: list[float] = []
    ended = 0.0
    events = await shop.told("backend.ready", after=last.number, slot=slot)
    for event in events:
        if event.data.get("slot") != slot:
            continue
        if event.kind == "backend.exited":
            ended = moment(event)
        elif event.kind == "backend.added":
            waits.append(moment(event) - ended)
    return waits


async def test_row_14_the_state_after_a_failure_is_shown_and_can_be_ended(tmp_path: Path):
    """A slot short, locked and why; not ready when the last one is gone; the proxy stays, and unlock repairs it."""
    async with run_shop(tmp_path, strategy="stop-first") as shop:
        shop.releases.deploy(BROKEN)
        report = await shop.roll()
        assert (report["outcome"], report["locked"]) == ("failed", True)
        pool = await shop.hotswap.pool()
        assert report["id"] in pool["locked"]
        assert len(await shop.pids()) == 1
        metrics = await shop.hotswap.admin.metrics()
        assert 'hotswap_backends{pool="web",state="ready"} 1.0' in metrics
        assert 'hotswap_rollouts_total{outcome="failed",pool="web"} 1.0' in metrics
        shown = await shop.hotswap.command("status")
        assert "locked" in shown.stdout.lower()
        assert await shop.hotswap.admin.ready()

        for pid in (await shop.pids()).values():
            os.kill(pid, signal.SIGKILL)
        await shop.event("pool.hopeless")
        unready = await shop.hotswap.admin.call("GET", "/readyz")
        assert unready.status == 503
        assert "web" in unready.json()["detail"]

        assert (await shop.hotswap.command("unlock", "web")).code == 0
        await shop.full()
        assert await shop.generations() == {0: 1, 1: 1}
        shop.releases.deploy(PLAIN)
        assert (await shop.roll())["outcome"] == "done"


async def test_row_16_the_control_channel_answers_with_types(tmp_path: Path):
    """Accepted or refused and why, progress, the end, and an exit code for each."""
    gate = tmp_path / "gate"
    async with run_shop(tmp_path) as shop:
        shop.releases.deploy(waits_for(gate))
        accepted = await shop.hotswap.command("reload", "web", "--no-wait", "--json")
        assert accepted.code == 0
        (rollout,) = json.loads(accepted.stdout)["rollouts"]
        assert (rollout["id"], rollout["outcome"], rollout["trigger"]) == ("r1", "running", "cli")
        refused = await shop.hotswap.command("reload", "web")
        assert (refused.code, "refused: rollout-in-progress" in refused.stderr) == (3, True)
        gate.touch()
        assert (await shop.finished("r1"))["outcome"] == "done"

        done = await shop.hotswap.command("reload", "web")
        assert (done.code, "rollout r2 of pool web: done, 2 of 2 slots replaced" in done.stdout) == (0, True)
        progress = [line for line in done.stderr.splitlines() if line.startswith("rollout r2: pool web, slot ")]
        assert len(progress) >= 2

        unknown = await shop.hotswap.command("reload", "wob")
        assert (unknown.code, "wob" in unknown.stderr) == (2, True)
        assert (await shop.hotswap.admin.reload("wob")).status == 404

        shop.releases.deploy(BROKEN)
        failed = await shop.hotswap.command("reload", "web")
        assert (failed.code, "cannot find the table of orders" in failed.stderr) == (4, True)
        lost = await shop.hotswap.command("--help")
        assert lost.code == 0


async def test_row_19_an_ordinary_stop_drains_too(tmp_path: Path):
    """SIGTERM: what was begun is finished, backends end in order, nothing is left, exit code 0."""
    async with run_shop(tmp_path, GOOD, app="shop:app") as shop:
        pids = await shop.pids()
        async with open_connection(await shop.hotswap.target()) as client:
            await client.send_head("POST", "/upload", headers=[("Content-Length", "8")])
            await client.send_body(b"half")
            slot = (await shop.in_flight())["slot"]
            shop.hotswap.signal(signal.SIGTERM)
            await shop.wait_record("proxy.stopping")
            await client.send_body(b"full")
            await client.send_end()
            status, _ = await client.head()
            assert (status, json.loads(await client.body())["size"]) == (200, 8)
        await shop.hotswap.wait_stopped()
        await shop.wait_record("proxy.stopped")
        assert living(pids.values()) == []
        said = [line.partition(" (")[0] for line in shop.output(slot=slot)]
        order = ["demo: last request done", "demo: database closed", "demo: exit"]
        assert [line for line in said if line in order] == order


async def test_row_21_the_magic_number_is_read_where_the_new_workers_will_run(tmp_path: Path):
    """Behind the link, not in the old directory; and a link that moves during a rollout moves nobody."""
    gate = tmp_path / "gate"
    async with run_shop(tmp_path, files={"RESTART_EPOCH": "1"}, **EPOCH) as shop:
        old = shop.releases.current.resolve()
        shop.releases.deploy(PLAIN, files={"RESTART_EPOCH": "2"})
        assert (old / "RESTART_EPOCH").read_text() == "1"
        assert (await shop.refusal())["code"] == "compatibility-mismatch"

        new = shop.releases.deploy(waits_for(gate), files={"RESTART_EPOCH": "1"})
        rollout = await shop.begin()
        await shop.event("backend.added", generation=2)
        shop.releases.deploy(BROKEN, files={"RESTART_EPOCH": "9"})
        gate.touch()
        assert (await shop.finished(rollout))["outcome"] == "done"
        victim = (await shop.pids())[0]
        os.kill(victim, signal.SIGKILL)
        await shop.full(without=[victim])
        assert {Path(backend["release"]).name for backend in await shop.backends()} == {new}
        assert (await shop.hotswap.pool())["compatibility"] == "1"


async def test_row_22_what_the_store_can_bear_is_declared_for_each_pool(tmp_path: Path):
    """One pool declares an exclusive store and stays as it is; the one beside it, shared by default, is rolled."""
    text = command_pool(tmp_path, "faulty.plain", storage={"shared": False})
    async with run_shop(tmp_path, extra=text.replace("[pools.web]", "[pools.files]")) as shop:
        files, web = await shop.pids("files"), await shop.pids()
        answer = (await shop.hotswap.admin.call("POST", "/v1/reload")).expect(202).json()
        assert {name: refusal["code"] for name, refusal in answer["refusals"].items()} == {"files": "storage-exclusive"}
        (rollout,) = answer["rollouts"]
        assert rollout["pool"] == "web"
        assert (await shop.finished(rollout["id"]))["outcome"] == "done"
        assert await shop.pids("files") == files
        assert not set((await shop.pids()).values()) & set(web.values())


async def test_row_23_a_new_configuration_is_judged_before_any_worker_is_touched(tmp_path: Path):
    """Every problem at once, a port that is taken too; what takes a restart of the proxy to change is said."""
    async with run_shop(tmp_path) as shop:
        before = await shop.pids()
        shop.configure(size=0, sizzle=1, rollout={"strategy": "hope"})
        problem = await shop.refusal()
        assert problem["code"] == "config-invalid"
        told = "\n".join(str(one) for one in problem["state"]["problems"])
        assert all(key in told for key in ("pools.web.size", "pools.web.sizzle", "pools.web.rollout.strategy"))
        shop.configure(size=0)
        assert (await shop.refused_signal())["code"] == "config-invalid"

        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            shop.configure(f'[listeners.second]\nbind = ["127.0.0.1:{port}"]\n')
            record = await shop.refused_signal()
        assert (record["code"], str(port) in record["detail"]) == ("config-invalid", True)
        assert await shop.pids() == before

        shop.configure('[proxy]\nstate_dir = "elsewhere"\nlog_format = "json"\naccess_log = "access.log"\n')
        shop.signal()
        restart = await shop.wait_record("config.needs_restart")
        assert (restart["level"], restart["table"]) == ("warning", "proxy")
        assert "state_dir" in restart["keys"]
        await shop.event("rollout.done")
        assert await shop.generations() == {0: 2, 1: 2}


async def test_row_24_progress_is_told_at_info_with_one_id_on_every_line(tmp_path: Path):
    """From the trigger to the end, lines of the backends at hand included; asked to stop and killed are two things."""
    async with run_shop(tmp_path, program("faults", "ignores-sigterm"), stop_timeout="200ms") as shop:
        shop.releases.deploy(PLAIN)
        assert (await shop.roll())["id"] == "r1"
        assert (await shop.roll())["id"] == "r2"
        for rollout, ended in (("r1", "backend.killed"), ("r2", "backend.exited")):
            turn = ["backend.draining", "backend.starting", "backend.ready", "backend.stopping", ended]
            turn = ["rollout.slot_started", *turn, "rollout.slot_done"]
            expected = ["rollout.started", *turn, *turn, "rollout.done"]
            told = [record for record in shop.hotswap.records() if record.get("rollout") == rollout]
            assert [record["event"] for record in told if record["event"] in expected] == expected
            levels = {record["event"]: record["level"] for record in told}
            assert {name: level for name, level in levels.items() if level != "info"} == (
                {"backend.killed": "warning"} if rollout == "r1" else {}
            )
            assert {record["slot"] for record in told if record["event"] == "backend.output"} == {0, 1}
        assert not shop.records("backend.killed", rollout="r2")


async def test_row_28_surge_starts_the_new_one_first_and_rolls_a_pool_of_one(tmp_path: Path):
    """With one slot a request is never without a backend; the default needs two, as pump.io did."""
    gate = tmp_path / "gate"
    async with run_shop(tmp_path, size=1) as shop:
        assert (await shop.refusal())["code"] == "pool-too-small"
        shop.configure(size=1, rollout={"strategy": "surge"})
        shop.releases.deploy(waits_for(gate))
        old = await shop.in_slot(0)
        async with run_load({"plain": await shop.hotswap.target()}, kinds=[Ask]) as load:
            rollout = await shop.begin()
            await shop.event("backend.added", generation=2)
            assert (await shop.in_slot(0))["pid"] == old["pid"]
            gate.touch()
            report = await shop.finished(rollout)
            await load.wait_turns(2)
        load.assert_unharmed()
        assert report["outcome"] == "done"
        assert report["slots"][0]["exchanges"]["held"] == 0
        order = [
            (event.kind, event.data["generation"])
            for event in await shop.told("rollout.done")
            if event.kind in ("backend.ready", "backend.draining")
        ]
        assert order == [("backend.ready", 1), ("backend.ready", 2), ("backend.draining", 1)]
