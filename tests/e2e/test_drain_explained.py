"""Why a rollout waits, and what it reports afterwards: by API, command line, event stream and log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio

from hotswap.control.rollout.book import REMEMBERED
from tests.support.client import open_connection
from tests.support.hotswap import Ran
from tests.support.shop import run_shop

SECRET = "hunter2"
LINE = "GET /slow?seconds=600&token=***"


@pytest.mark.fail_after(60)
async def test_what_holds_a_drain_is_named_and_what_is_cut_is_reported(tmp_path: Path):
    """Request line, age, client and bytes, with no secret in it; the same exchange everywhere."""
    async with run_shop(tmp_path, drain_timeout="4s", stop_timeout="200ms") as shop, trio.open_nursery() as nursery:
        statuses: list[int] = []

        async def ask() -> None:
            response = await shop.hotswap.fetch(f"/slow?seconds=600&token={SECRET}", method="POST", body=b"hello")
            statuses.append(response.status)

        nursery.start_soon(ask)
        slot = (await shop.in_flight())["slot"]
        rollout = await shop.begin()

        # While it waits.
        async def waits() -> bool:
            return any(backend["waiting_for"] for backend in await shop.backends())

        await shop.hotswap.wait_until(waits)
        ((waiting,),) = [backend["waiting_for"] for backend in await shop.backends() if backend["waiting_for"]]
        line = LINE.replace("GET", "POST")
        expected = {"request_line": line, "client": "127.0.0.1", "request_bytes": 5, "response_bytes": 0}
        assert waiting == {**waiting, **expected, "tunnel": False}
        assert waiting["age"] > 0
        (turn,) = [turn for turn in (await shop.report(rollout))["slots"] if turn["slot"] == slot]
        assert [one["request_line"] for one in turn["waited_for"]] == [line]
        shown = await shop.hotswap.command("status")
        assert f"pool web slot {slot} waits for {line} from 127.0.0.1" in shown.stdout + shown.stderr

        # When it is cut.
        report = await shop.finished(rollout)
        assert report["outcome"] == "done"
        (turn,) = [turn for turn in report["slots"] if turn["slot"] == slot]
        assert turn["exchanges"]["cut"] == 1
        assert [one["request_line"] for one in turn["waited_for"]] == [line]
        assert 4 <= turn["seconds"]["draining"] < turn["seconds"]["total"]
        (logged,) = shop.records("backend.drain_timed_out")
        told = await shop.event("backend.drain_timed_out", slot=slot)
        assert logged["exchanges"] == told.data["exchanges"]
        assert [one["request_line"] for one in logged["exchanges"]] == [line]
        shown = await shop.hotswap.command("rollouts", rollout)
        assert f"slot {slot}: cut {line} from 127.0.0.1" in shown.stdout
        assert statuses == [503]
        assert not shop.hotswap.written(SECRET)


@pytest.mark.fail_after(60)
async def test_an_operator_who_drains_is_answered_with_what_that_waits_for(tmp_path: Path):
    """As it is then; nobody has asked for the status before."""
    async with run_shop(tmp_path, stop_timeout="200ms") as shop, trio.open_nursery() as nursery:
        nursery.start_soon(shop.hotswap.fetch, "/slow?seconds=600")
        slot = (await shop.in_flight())["slot"]
        answer = await shop.hotswap.admin.call("POST", f"/v1/pools/web/slots/{slot}/drain")
        (backend,) = json.loads(answer.body)["slot"]["backends"]
        assert [one["request_line"] for one in backend["waiting_for"]] == ["GET /slow?seconds=600"]
        nursery.cancel_scope.cancel()


@pytest.mark.fail_after(60)
async def test_the_report_is_the_same_in_api_log_and_stream_and_the_command_line_shows_it(tmp_path: Path):
    """For each slot the seconds of its phases, and what became of its exchanges."""
    async with run_shop(tmp_path) as shop, open_connection(await shop.hotswap.target()) as client:
        # It lasts until its body is whole, and that is when the drain has begun.
        await client.send_head("POST", "/echo", headers=[("Content-Length", "5")])
        slot = (await shop.in_flight())["slot"]
        async with trio.open_nursery() as nursery:
            rans: list[Ran] = []

            async def reload() -> None:
                rans.append(await shop.hotswap.command("reload", "web"))

            nursery.start_soon(reload)
            await shop.event("backend.draining", slot=slot)
            await client.send_body(b"hello")
            await client.send_end()
            assert (await client.head())[0] == 200
            assert await client.body() == b"hello"
        assert rans[0].code == 0, rans
        report = await shop.finished("r1")
        assert shop.records("rollout.report")[0]["report"] == report
        assert (await shop.event("rollout.report")).data["report"] == report
        assert {turn["slot"]: turn["exchanges"]["drained"] for turn in report["slots"]} == {slot: 1, 1 - slot: 0}
        for turn in report["slots"]:
            assert set(turn["seconds"]) == {"starting", "draining", "stopping", "total"}
            assert set(turn["exchanges"]) == {"drained", "retried", "held", "cut", "tunnels_closed", "longest_delay"}
            assert turn["seconds"]["starting"] > 0
        shown = await shop.hotswap.command("rollouts", "r1")
        for column in ("starting", "draining", "stopping", "drained", "held", "retried", "cut", "longest"):
            assert column in shown.stdout.split(), shown


@pytest.mark.fail_after(60)
async def test_the_reports_of_the_last_twenty_rollouts_are_kept(tmp_path: Path):
    """The oldest is forgotten for the newest, and asking for it says which there are."""
    async with run_shop(tmp_path, size=1, strategy="surge") as shop:
        for _ in range(REMEMBERED + 1):
            assert (await shop.hotswap.rollout())["outcome"] == "done"
        kept = [report["id"] for report in (await shop.hotswap.admin.get("/v1/rollouts"))["rollouts"]]
        assert kept == [f"r{number}" for number in range(2, REMEMBERED + 2)]
        forgotten = await shop.hotswap.admin.call("GET", "/v1/rollouts/r1")
        assert (forgotten.status, forgotten.json()["code"]) == (404, "unknown-rollout")
