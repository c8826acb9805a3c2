"""The proxy as a whole, from boot to end, inside the test's own process."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest
import trio

from hotswap.control.admin.views import unready_reasons
from hotswap.control.process.status import summarise
from hotswap.core.errors import ConfigError, NotFound, RefusalCode, Refused
from hotswap.core.pool.pause_answer import PauseAnswer
from tests.support.client import Response
from tests.support.hotswap import living
from tests.support.pools import command_pool, listeners, table
from tests.support.runtime_stage import RunningRuntime, open_runtime


def web(directory: Path, *command: str, **settings: str) -> str:
    """A listener, a route and a pool "web" of two backends."""
    return listeners() + command_pool(directory, *(command or ("faulty.plain",)), **settings)


def pids(running: RunningRuntime) -> list[int]:
    """The process ids of every backend."""
    return [backend.pid for pool in running.parts.pools.values() for backend in pool.core.backends if backend.pid]


async def test_it_serves_when_it_says_that_it_has_booted(tmp_path):
    """And its status says what there is."""
    async with open_runtime(web(tmp_path), tmp_path) as running:
        assert (await running.fetch("/whoami")).json()["generation"] == 1
        assert running.orders.ready()
        status = running.orders.status()
        assert status["pid"] == os.getpid()
        assert status["pools"]["web"]["generation"] == 1
        (backend,) = status["pools"]["web"]["slots"][0]["backends"]
        assert (backend["state"], backend["health"], backend["release"]) == ("ready", "healthy", str(tmp_path))
        assert status["listeners"]["public"]["bind"] == [str(running.parts.listeners.bound("public")[0])]


async def test_requests_that_come_while_the_pools_boot_are_held(tmp_path):
    """The port is open from the beginning, and nobody is turned away."""
    config = web(tmp_path, "faulty.plain", "--boot-seconds", "0.5")
    async with open_runtime(config, tmp_path, booted=False) as running:
        await running.wait(lambda: "backend.added" in running.kinds())
        assert not running.orders.ready()
        assert (await running.fetch("/whoami")).status == 200
        await running.wait(lambda: running.parts.life.booted)


async def test_the_service_manager_hears_ready_when_every_pool_is_ready(tmp_path, monkeypatch):
    """Not before, and what is going on meanwhile is in STATUS."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as manager:
        manager.bind(str(tmp_path / "n"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "n"))
        async with open_runtime(web(tmp_path), tmp_path) as running:
            await running.orders.reread_configuration()
        messages = []
        while True:
            try:
                messages.append(manager.recv(4096).decode())
            except BlockingIOError:
                break
    assert messages[0].startswith("STATUS=booting")
    assert messages.index("READY=1") == messages.index("STATUS=web 2/2 ready") + 1
    reloading = next(index for index, message in enumerate(messages) if message.startswith("RELOADING=1"))
    assert messages[reloading + 1] == "READY=1"
    assert "STOPPING=1" in messages


async def test_a_pool_that_does_not_come_up_keeps_nobody_from_being_ready(tmp_path):
    """It is named, it is tried again, and a takeover is not refused for it; /readyz says that something is missing."""
    broken = command_pool(tmp_path, "backends.nothing").replace("[pools.web]", "[pools.broken]")
    async with open_runtime(web(tmp_path) + broken, tmp_path) as running:
        runtime = running.runtime
        assert runtime.parts.pools.not_ready() == ["broken"]
        slot = running.orders.status()["pools"]["broken"]["slots"][0]
        assert slot["last_error"].startswith("exited with status 1: ")
        assert slot["last_error"].endswith("No module named backends.nothing")
        assert slot["exit"] == "exit code 1"
        assert slot["attempts"] == slot["failed_starts"]
        well = running.orders.status()["pools"]["web"]["slots"][0]
        assert (well["last_error"], well["exit"], well["attempts"], well["next_try"]) == (None, None, 0, None)
        assert slot["last_error"] in "; ".join(unready_reasons(running.orders.status()))
        assert slot["last_error"] in summarise(runtime.parts)
        await running.wait(lambda: bool(running.orders.status()["pools"]["broken"]["slots"][0]["next_try"]))
        assert runtime.takeovers.refusal() is None
        assert not runtime.orders.ready()
        assert (await running.fetch("/whoami")).json()["pool"] == "web"
        assert "broken 0/2 ready" in summarise(runtime.parts)


async def test_a_pool_that_is_paused_is_ready_all_the_same(tmp_path):
    """With an answer or without: a balancer must not take the machine for dead. The line of the service tells it."""
    async with open_runtime(web(tmp_path), tmp_path) as running:
        runtime = running.runtime
        assert runtime.orders.pause("web")
        assert summarise(runtime.parts).endswith(" ready, paused")
        assert runtime.orders.pause("web", PauseAnswer(status=503))
        assert summarise(runtime.parts).endswith(" ready, paused: answered 503")
        assert runtime.orders.ready()
        assert (await running.fetch("/whoami")).status == 503
        assert runtime.orders.resume("web")
        assert (await running.fetch("/whoami")).status == 200


async def test_a_proxy_in_which_nothing_serves_is_not_ready(tmp_path):
    """Whoever waits for it must not believe that all is well."""
    config = web(tmp_path, "backends.nothing")
    async with open_runtime(config, tmp_path, booted=False) as running:
        await running.wait(lambda: running.kinds().count("backend.exited") >= 4)
        assert not running.parts.life.booted
        refusal = running.runtime.takeovers.refusal()
        assert refusal is not None
        assert refusal.code is RefusalCode.NOT_READY
        assert "nothing serves yet in pool web; once repaired: hotswap reload" in refusal.detail


async def test_a_configuration_that_is_read_again_before_a_pool_came_up_is_answered(tmp_path):
    """Whether it changes anything or not; and what is still down is named with the verb that repairs it."""
    config = web(tmp_path, "backends.nothing")
    async with open_runtime(config, tmp_path, booted=False) as running:
        await running.wait(lambda: running.kinds().count("backend.exited") >= 2)
        await running.orders.reread_configuration()
        assert running.kinds().count("config.applied") == 1
        running.write(web(tmp_path))
        (rollout,) = (await running.orders.reread_configuration()).rollouts
        assert running.kinds().count("config.applied") == 2
        await running.orders.wait_rollout(rollout.id)
        await running.wait(lambda: "proxy.ready" in running.kinds())
        assert running.orders.ready()


async def test_a_pool_that_is_locked_before_it_came_up_keeps_nobody_from_being_ready(tmp_path):
    """It was tried and is given up until somebody unlocks it; the others serve, and the boot is over."""
    hangs = command_pool(tmp_path, "faulty.plain", "--boot-seconds", "60").replace("[pools.web]", "[pools.api]")
    broken = command_pool(tmp_path, "backends.nothing").replace("[pools.web]", "[pools.api]")
    async with open_runtime(web(tmp_path) + hangs, tmp_path, booted=False) as running:
        await running.wait(lambda: "web" in running.parts.pools and running.generations() == [1, 1])
        assert not running.parts.life.booted
        running.write(web(tmp_path) + broken)
        await running.orders.reload_pool("api", trigger="test")
        await running.wait(lambda: running.parts.life.booted)
        assert running.parts.pools["api"].core.locked is not None
        assert (await running.fetch("/whoami")).json()["pool"] == "web"


async def test_the_state_directory_is_for_this_user_alone(tmp_path):
    """Mode 0700, whatever the umask."""
    async with open_runtime(web(tmp_path), tmp_path) as running:
        state = os.stat(running.parts.config.proxy.state_dir)
        assert stat.S_IMODE(state.st_mode) == 0o700


async def test_a_port_in_use_is_told_before_any_process_was_started(tmp_path):
    """The message names the key and the address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        text = web(tmp_path).replace("127.0.0.1:0", f"127.0.0.1:{port}")
        began = False
        with pytest.RaisesGroup(pytest.RaisesExc(ConfigError, match=rf"listeners\.public\.bind.*{port}")):
            async with open_runtime(text, tmp_path):
                began = True
        assert not began


async def test_stopping_finishes_what_is_in_flight_and_ends_every_backend(tmp_path):
    """Accepting ends at once, exchanges at their own time, reloads are refused, views answer."""
    async with open_runtime(web(tmp_path), tmp_path) as running, trio.open_nursery() as nursery:
        runtime, answered = running.runtime, trio.Event()
        processes = pids(running)
        host, port = running.target().address  # type: ignore[misc]  # a listener on TCP

        async def slow() -> None:
            response = await running.fetch("/slow?seconds=0.5")
            assert response.status == 200
            answered.set()

        nursery.start_soon(slow)
        while not any(runtime.parts.link.in_flight(backend) for backend in runtime.parts.pools["web"].core.backends):
            await trio.sleep(0.01)
        runtime.orders.stop()
        with pytest.raises(Refused) as refusal:
            await runtime.orders.reload_pool("web", trigger="test")
        assert refusal.value.code is RefusalCode.SHUTTING_DOWN
        with pytest.raises(Refused):
            await runtime.orders.reload_all(trigger="test")
        with pytest.raises(Refused):
            await runtime.orders.reread_configuration()
        await running.wait(lambda: "proxy.stopping" in running.kinds())
        assert not runtime.orders.ready()
        assert runtime.orders.status()["stopping"]
        await answered.wait()
        assert living(processes) != []
        await running.wait(lambda: running.kinds().count("backend.exited") == 2)
        with pytest.raises(OSError, match="all attempts to connect"):
            await trio.open_tcp_stream(host, port)
    assert living(processes) == []


async def test_a_second_stop_is_at_once(tmp_path):
    """What is in flight is not waited for, and no process is left."""
    async with open_runtime(web(tmp_path), tmp_path) as running, trio.open_nursery() as nursery:
        processes = pids(running)
        answers: list[Response] = []

        async def slow() -> None:
            answers.append(await running.fetch("/slow?seconds=60"))

        nursery.start_soon(slow)
        while not any(running.parts.link.in_flight(backend) for backend in running.parts.pools["web"].core.backends):
            await trio.sleep(0.01)
        running.orders.stop()
        await running.wait(lambda: "proxy.stopping" in running.kinds())
        running.orders.stop()
    assert [answer.status for answer in answers] == [503], "whoever has no answer yet gets one"
    with trio.fail_after(5):
        while living(processes):
            await trio.sleep(0.01)


async def test_stopping_while_it_boots_ends_it(tmp_path):
    """Backends that are still starting are not waited for."""
    config = web(tmp_path, "faulty.plain", "--boot-seconds", "60")
    async with open_runtime(config, tmp_path, booted=False) as running:
        await running.wait(lambda: running.kinds().count("backend.added") == 2)
        processes = pids(running)
    assert living(processes) == []


async def test_stopping_in_the_middle_of_a_rollout_aborts_it(tmp_path):
    """Its report says why, and nothing of it is left."""
    async with open_runtime(web(tmp_path), tmp_path) as running:
        running.write(web(tmp_path, "faulty.plain", "--boot-seconds", "60"))
        rollout = await running.orders.reload_pool("web", trigger="test")
        await running.wait(lambda: running.kinds().count("backend.added") == 3)
        processes = pids(running)
        running.orders.stop()
        await running.orders.wait_rollout(rollout.id)
        assert (rollout.outcome.value, rollout.reason) == ("aborted", "shutting-down")
    assert living(processes) == []


async def test_an_abort_by_an_operator_ends_the_rollout(tmp_path):
    """The id of it is the answer, and None when none runs."""
    async with open_runtime(web(tmp_path), tmp_path) as running:
        assert running.orders.abort("web") is None
        running.write(web(tmp_path, "faulty.plain", "--boot-seconds", "60"))
        rollout = await running.orders.reload_pool("web", trigger="test")
        await running.wait(lambda: running.kinds().count("backend.added") == 3)
        with pytest.raises(Refused) as refusal:
            running.orders.drain("web", 0)
        assert refusal.value.code is RefusalCode.ROLLOUT_IN_PROGRESS
        assert running.orders.abort("web") == rollout.id
        assert (await running.orders.wait_rollout(rollout.id)).outcome.value == "aborted"
        assert running.generations() == [1, 1]


async def test_pausing_holds_requests_and_resuming_lets_them_go(tmp_path):
    """Each says whether it changed anything."""
    async with open_runtime(web(tmp_path), tmp_path) as running, trio.open_nursery() as nursery:
        assert running.orders.pause("web")
        assert not running.orders.pause("web")
        answered = trio.Event()

        async def ask() -> None:
            assert (await running.fetch("/whoami")).status == 200
            answered.set()

        nursery.start_soon(ask)
        with trio.fail_after(10):
            while running.orders.status()["pools"]["web"]["held"] == 0:
                await trio.sleep(0.01)
        assert not answered.is_set()
        assert running.orders.resume("web")
        assert not running.orders.resume("web")
        await answered.wait()


async def test_what_does_not_exist_is_unknown(tmp_path):
    """Pools, slots and rollouts."""
    async with open_runtime(web(tmp_path), tmp_path) as running:
        runtime = running.runtime
        for verb in (runtime.orders.pause, runtime.orders.resume, runtime.orders.unlock, runtime.orders.abort):
            with pytest.raises(NotFound, match="no pool "):
                verb("nothing")
        with pytest.raises(NotFound, match="no slot "):
            runtime.orders.drain("web", 2)
        with pytest.raises(NotFound, match="no rollout "):
            await runtime.orders.wait_rollout("r9")
        with pytest.raises(NotFound, match="no rollout "):
            await runtime.orders.rollout("r9")


async def test_what_a_running_process_cannot_change_is_kept_and_told(tmp_path):
    """The admin address of the file waits for the next start; shutdown_timeout does not."""
    async with open_runtime(web(tmp_path), tmp_path) as running:
        before = running.parts.config.admin
        text = running.config.read_text(encoding="utf-8")
        text = text.replace("/admin", "/elsewhere").replace("[admin]", 'shutdown_timeout = "3s"\n[admin]')
        running.config.write_text(text, encoding="utf-8")
        await running.orders.reread_configuration()
        assert running.parts.config.admin == before
        assert running.parts.config.proxy.shutdown_timeout == 3.0


async def test_a_proxy_without_pools_is_ready(tmp_path):
    """A bounce listener alone is a proxy too."""
    text = table("listeners.bounce", {"bind": ["127.0.0.1:0"], "redirect": {"port": 8443}})
    async with open_runtime(text, tmp_path) as running:
        assert running.orders.ready()
