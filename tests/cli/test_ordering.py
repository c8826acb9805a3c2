"""Verbs that give one order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from hotswap.control.takeover.order import TakeoverResult
from hotswap.core.errors import RefusalCode, Refused
from hotswap.core.pool.lifecycle import BackendState
from tests.support.command_line import Result, cli
from tests.support.fake_runtime import CONFIGURATION, FakeProxy, open_fake_proxy


@pytest.fixture
async def proxy() -> AsyncIterator[FakeProxy]:
    """A fake proxy whose admin API answers."""
    async with open_fake_proxy() as fake:
        yield fake


async def test_drain_and_readmit(proxy: FakeProxy) -> None:
    """The order is carried out, and a message says what is now; there is no data."""
    proxy.runtime.pool("web").claim()
    drained = await cli("drain", "web", "0", "--admin", proxy.url)
    assert (drained.code, drained.stdout) == (0, "")
    assert drained.stderr == "pool web slot 0: draining, 1 in flight\n"
    assert proxy.runtime.backend("web", 0).state is BackendState.DRAINING
    readmitted = await cli("readmit", "web", "0", "--admin", proxy.url)
    assert readmitted.stderr == "pool web slot 0: ready, healthy\n"


async def test_pause_resume_unlock_and_abort_say_what_they_found(proxy: FakeProxy) -> None:
    """Doing it twice is not an error."""
    proxy.runtime.pool("web").lock("it failed")
    said = [
        (await cli(verb, "web", "--admin", proxy.url)).stderr
        for verb in ("pause", "pause", "resume", "resume", "unlock", "unlock", "abort")
    ]
    assert said == [
        "pool web: requests are held\n",
        "pool web: was paused already\n",
        "pool web: requests go on\n",
        "pool web: was not paused\n",
        "pool web: unlocked\n",
        "pool web: was not locked\n",
        "pool web: no rollout is in progress\n",
    ]


@pytest.mark.parametrize("verb", ["pause", "resume", "unlock", "abort"])
async def test_an_unknown_pool_is_exit_code_2(proxy: FakeProxy, verb: str) -> None:
    """The message lists those there are."""
    result = await cli(verb, "wbe", "--admin", proxy.url)
    assert (result.code, result.stderr) == (2, "no pool 'wbe'; there is web, legacy\n")


@pytest.mark.parametrize("verb", ["unlock", "abort"])
async def test_a_pool_may_be_left_out_where_no_other_can_be_meant(proxy: FakeProxy, verb: str) -> None:
    """What runs elsewhere is neither rolled nor locked."""
    alone = await cli(verb, "--admin", proxy.url)
    assert (alone.code, alone.stderr.startswith("pool web: ")) == (0, True)


@pytest.mark.parametrize("verb", ["pause", "resume"])
async def test_where_several_pools_could_be_meant_one_has_to_be_named(proxy: FakeProxy, verb: str) -> None:
    """Nothing is guessed; with a single pool there is nothing to guess."""
    several = await cli(verb, "--admin", proxy.url)
    assert (several.code, several.stderr) == (2, "a pool has to be named: there is web, legacy\n")
    text = CONFIGURATION.partition("[pools.legacy]")[0]
    async with open_fake_proxy(text) as one:
        alone = await cli(verb, "--admin", one.url)
        assert (alone.code, alone.stderr.startswith("pool web: ")) == (0, True)


async def test_an_unknown_slot_is_exit_code_2(proxy: FakeProxy) -> None:
    """Whether it is a number or not."""
    assert (await cli("drain", "web", "7", "--admin", proxy.url)).code == 2
    assert (await cli("drain", "web", "x", "--admin", proxy.url)).code == 2


async def test_a_refused_order_is_exit_code_3(proxy: FakeProxy) -> None:
    """With the reason code."""
    proxy.runtime.outcome = "held"
    await proxy.runtime.reload_pool("web", trigger="test")
    result = await cli("drain", "web", "0", "--admin", proxy.url)
    assert result.code == 3
    assert result.stderr.startswith("refused: rollout-in-progress: ")


async def test_a_takeover_that_came_to_nothing_is_exit_code_1(proxy: FakeProxy) -> None:
    """And says so."""
    proxy.runtime.handed_over = TakeoverResult(done=False, generation=1, pid=1, step="preparing", reason="too hot")
    result = await cli("takeover", "--admin", proxy.url)
    assert result.code == 1
    assert "too hot (in the step preparing)" in result.stderr


async def test_stop_waits_until_the_proxy_is_gone(proxy: FakeProxy) -> None:
    """Whoever starts the next one finds the ports free."""
    results: list[Result] = []

    async def stop() -> None:
        results.append(await cli("stop", "--admin", proxy.url))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop)
        while not proxy.runtime.stopping:
            await trio.sleep(0.01)
        assert results == []
        proxy.scope.cancel()
    assert results[0].code == 0
    assert results[0].stderr.endswith("proxy 4711 is gone\n")
    assert proxy.runtime.stopping == 1


async def test_stopping_what_stops_already_does_not_end_it_at_once(proxy: FakeProxy) -> None:
    """A second order would cut what is in flight."""
    results: list[Result] = []
    proxy.runtime.stopping = 1

    async def stop() -> None:
        results.append(await cli("stop", "--admin", proxy.url))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop)
        while proxy.runtime.asked_for_status < 2:
            await trio.sleep(0.01)
        proxy.scope.cancel()
    assert results[0].code == 0
    assert "stops already" in results[0].stderr
    assert proxy.runtime.stopping == 1


async def test_a_defect_of_the_proxy_is_exit_code_1(proxy: FakeProxy) -> None:
    """No traceback."""
    proxy.runtime.broken = RuntimeError("secret")
    result = await cli("status", "--admin", proxy.url)
    assert result.code == 1
    assert result.stderr == "internal: the call failed inside the proxy; its log says why\n"
    proxy.runtime.broken = None


async def test_a_refusal_lists_the_problems_of_a_configuration(proxy: FakeProxy) -> None:
    """As `check` would."""
    problems = [{"path": "pools.web.size", "value": None, "allowed": "a number"}]
    proxy.runtime.refusal = Refused(RefusalCode.CONFIG_INVALID, "2 problems", {"problems": problems})
    result = await cli("reload", "--admin", proxy.url)
    assert "pools.web.size must be a number, is missing" in result.stderr


async def test_a_proxy_behind_a_unix_socket_with_a_token(tmp_path: Path) -> None:
    """Named by the option or found through the configuration, which knows the token file too."""
    (tmp_path / "token").write_text("s3cret\n")
    (tmp_path / "token").chmod(0o600)
    path = tmp_path / "admin.sock"
    text = CONFIGURATION.replace("[admin]", '[admin]\ntoken_file = "token"').replace("127.0.0.1:0", f"unix:{path}", 1)
    (tmp_path / "hotswap.toml").write_text(text)
    served = text.replace('"token"', f'"{tmp_path}/token"')
    async with open_fake_proxy(served) as proxy:
        proxy.runtime.config_path = str(tmp_path / "hotswap.toml")
        by_config = await cli("status", "--config", str(tmp_path / "hotswap.toml"))
        assert by_config.code == 0, by_config.stderr
        named = await cli("status", "--admin", f"unix:{path}", "--token-file", str(tmp_path / "token"))
        assert named.code == 0
        by_environment = {"HOTSWAP_ADMIN": f"unix://{path}", "HOTSWAP_ADMIN_TOKEN_FILE": str(tmp_path / "token")}
        assert (await cli("status", environ=by_environment)).code == 0
        without = await cli("status", "--admin", f"unix:{path}")
        assert without.code == 1
        assert "token-required" in without.stderr
