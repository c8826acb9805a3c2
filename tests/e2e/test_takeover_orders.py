"""What operators order during a takeover and after it reaches every process that serves, whichever is told."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.support.chain import Chain, run_chain
from tests.support.client import Response, open_connection
from tests.support.hotswap import complete_configuration, living, wait_gone
from tests.support.pools import command_pool, listeners, table


def plain(directory: Path, **settings: Any) -> str:
    """A configuration whose backends boot at once."""
    return listeners() + command_pool(directory, "faulty.plain", **settings)


async def wait_replaced(chain: Chain, old: int) -> int:
    """Block until another process serves, on trial at least; gives it."""
    while (new := await chain.serving()) == old:
        await trio.sleep(0.02)
    return new


async def wait_access(path: Path, text: str) -> None:
    """Block until there is a line with a text in an access log."""
    while not (await trio.Path(path).exists() and text in await trio.Path(path).read_text(encoding="utf-8")):
        await trio.sleep(0.02)


@pytest.mark.fail_after(90)
async def test_a_stop_of_the_process_on_trial_is_at_once_and_for_good(tmp_path: Path) -> None:
    """However long the trial; asked twice, nothing comes back; who waits for the takeover hears of the stop."""
    async with run_chain(plain(tmp_path), tmp_path) as chain:
        old = await chain.serving()
        backends = await chain.backends()
        answers: list[Response] = []

        async def order() -> None:
            answers.append(await chain.order(probation="10m"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(order)
            new = await wait_replaced(chain, old)
            began = time.monotonic()
            os.kill(new, signal.SIGTERM)
            await chain.hotswap.wait_line("signal.received")
            os.kill(new, signal.SIGTERM)
            await wait_gone(new)
            await wait_gone(old)
            assert time.monotonic() - began < 30
        (answer,) = answers
        assert answer.status == 500
        assert "told to stop" in answer.json()["detail"]
        assert not living(backends)


@pytest.mark.fail_after(90)
async def test_a_rotation_and_a_renewal_in_a_takeover_are_nowhere_missed(tmp_path: Path) -> None:
    """SIGHUP for the old process in the trial reaches both; one for the new process reaches the old that drains."""
    access, first, second = tmp_path / "access.log", tmp_path / "first", tmp_path / "second"
    async with run_chain(plain(tmp_path), tmp_path) as chain:
        hotswap, old = chain.hotswap, await chain.serving()
        async with open_connection(await hotswap.target()) as kept, trio.open_nursery() as nursery:
            (await kept.request("GET", "/whoami?before")).expect()
            await wait_access(access, "before")
            nursery.start_soon(lambda: chain.order(probation="4s", drain_timeout="30s"))
            await wait_replaced(chain, old)
            access.rename(first)
            os.kill(old, signal.SIGHUP)
            # Done by the process that goes on, when it is known which that is.
            await hotswap.wait_line("config.applied")
            await hotswap.fetch("/whoami?new-in-trial")
            await wait_access(access, "new-in-trial")
            access.rename(second)
            os.kill(await chain.serving(), signal.SIGHUP)
            while not access.exists():
                await trio.sleep(0.02)
            (await kept.request("GET", "/whoami?old-to-the-last")).expect()
            await wait_access(access, "old-to-the-last")


@pytest.mark.fail_after(60)
async def test_requests_that_a_pause_holds_in_the_old_process_go_on_with_resume(tmp_path: Path) -> None:
    """The new process is asked, and both do it."""
    async with run_chain(plain(tmp_path, hold_timeout="60s"), tmp_path) as chain:
        hotswap = chain.hotswap
        answers: list[Response] = []

        async def ask() -> None:
            answers.append(await hotswap.fetch("/whoami"))

        await hotswap.admin.call("POST", "/v1/pools/web/pause")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            while (await hotswap.pool())["held"] != 1:
                await trio.sleep(0.02)
            await chain.take_over(drain_timeout="60s")
            assert not answers
            await hotswap.admin.call("POST", "/v1/pools/web/resume")
        answers[0].expect()


@pytest.mark.fail_after(60)
async def test_a_stop_waits_for_the_process_before_it_also_where_no_backend_is_its_own(tmp_path: Path) -> None:
    """A service manager ends what is left when the process that it knows ends."""
    async with run_chain(plain(tmp_path), tmp_path) as chain:
        target = await chain.hotswap.target()
        place = tmp_path / "front"
        place.mkdir()
        assert isinstance(target.address, tuple)
        static = table("pools.web", {"addresses": [":".join(map(str, target.address))]})
        async with run_chain(listeners() + static, place) as front:
            old = await front.serving()
            async with open_connection(await front.hotswap.target()) as client:
                await client.send_head("GET", "/slow?seconds=4")
                await client.send_end()
                while not any(backend["in_flight"] for backend in await chain.hotswap.backends()):
                    await trio.sleep(0.02)
                new = (await front.take_over(drain_timeout="60s"))["pid"]
                os.kill(new, signal.SIGTERM)
                assert (await client.head())[0] == 200
            await wait_gone(new)
            await wait_gone(old)
            told = [line for line in front.hotswap.written("event") if "predecessor_gone" in line or "stopped" in line]
            assert ["predecessor_gone" in line for line in told] == [True, False], told


@pytest.mark.fail_after(60)
async def test_a_new_pool_is_up_before_the_new_process_serves_or_nothing_changes(tmp_path: Path) -> None:
    """Requests of a pool under another name never wait; one that cannot start refuses the takeover with its reason."""
    async with run_chain(plain(tmp_path), tmp_path) as chain:
        hotswap, old = chain.hotswap, await chain.serving()
        renamed = plain(tmp_path).replace("pools.web", "pools.site").replace('pool = "web"', 'pool = "site"')
        broken = tmp_path / "broken.toml"
        broken.write_text(complete_configuration(renamed.replace("faulty.plain", "backends.none"), tmp_path))
        problem = await chain.fail_over(config=broken)
        assert "pool site is new and did not come up" in problem["detail"], problem
        assert await chain.serving() == old
        good = tmp_path / "good.toml"
        good.write_text(complete_configuration(renamed, tmp_path), encoding="utf-8")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: chain.order(config=good, probation="20s"))
            await wait_replaced(chain, old)
            with trio.fail_after(10):
                assert (await hotswap.fetch("/whoami")).expect().json()["pool"] == "site"
            nursery.cancel_scope.cancel()


@pytest.mark.fail_after(60)
async def test_the_admin_api_moves_and_leaves_nothing_behind_that_answers_nobody(tmp_path: Path) -> None:
    """The old address is gone with the trial; a stranger with the same state directory is told whom it has called."""
    async with run_chain(plain(tmp_path), tmp_path) as chain:
        hotswap = chain.hotswap
        moved = tmp_path / "moved.toml"
        text = complete_configuration(plain(tmp_path), tmp_path)
        moved.write_text(text.replace("admin.sock", "moved.sock"), encoding="utf-8")
        stranger = await hotswap.command("run", "--attach", str(moved))
        assert stranger.code != 0
        assert f"this proxy runs {hotswap.config}" in stranger.stderr, stranger.stderr
        done = await hotswap.command("takeover", "--to", str(moved), "--probation", "200ms")
        assert done.code == 0, done.stderr
        while await trio.Path(hotswap.admin.path).exists():
            await trio.sleep(0.02)
        status = await hotswap.command("status", "--json", "--admin", f"unix:{tmp_path / 'moved.sock'}")
        assert status.code == 0, status.stderr
        # The chain ends processes that have its own configuration.
        stopped = await hotswap.command("stop", "--admin", f"unix:{tmp_path / 'moved.sock'}")
        assert stopped.code == 0, stopped.stderr


@pytest.mark.fail_after(60)
@pytest.mark.parametrize("by", ["takeover", "reload"])
async def test_an_idle_client_of_the_old_process_meets_no_pool_that_has_gone(tmp_path: Path, by: str) -> None:
    """Its connection is closed before the pool goes, whichever way that is; one that had a request was answered."""
    renamed = plain(tmp_path).replace("pools.web", "pools.site").replace('pool = "web"', 'pool = "site"')
    async with run_chain(plain(tmp_path), tmp_path) as chain:
        hotswap = chain.hotswap
        async with open_connection(await hotswap.target()) as idle:
            (await idle.request("GET", "/whoami")).expect()
            if by == "takeover":
                hotswap.configure(renamed)
            await chain.take_over(drain_timeout="60s")
            if by == "reload":
                hotswap.configure(renamed)
                (await hotswap.admin.call("POST", "/v1/config/reload")).expect()
            with trio.fail_after(10):
                assert await idle.stream.receive_some(100) == b""
        assert (await hotswap.fetch("/whoami")).expect().json()["pool"] == "site"
