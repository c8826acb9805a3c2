"""`hotswap reload`: what it shows, and its exit codes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from hotswap.cli.reloading import Reload, tell_end
from hotswap.core.errors import PoolNotStarted, RefusalCode, Refused
from tests.support.command_line import Result, cli, on_terminal
from tests.support.fake_runtime import FakeProxy, open_fake_proxy


@pytest.fixture
async def proxy() -> AsyncIterator[FakeProxy]:
    """A fake proxy whose admin API answers."""
    async with open_fake_proxy() as fake:
        yield fake


async def test_it_waits_for_the_end_and_says_how_it_went(proxy: FakeProxy) -> None:
    """0, a summary as data, and progress as messages."""
    result = await cli("reload", "web", "--admin", proxy.url)
    assert result.code == 0
    assert result.stdout.startswith("rollout r1 of pool web: done, 2 of 2 slots replaced in ")
    assert "slot 0: generation 1 to 2: replaced" in result.stderr
    assert "slot 1: generation 1 to 2: replaced" in result.stderr
    assert "\x1b" not in result.stdout + result.stderr


async def test_without_a_name_every_supervised_pool_is_reloaded(proxy: FakeProxy) -> None:
    """As SIGUSR2 does."""
    result = await cli("reload", "--admin", proxy.url)
    assert result.code == 0
    assert "rollout r1 of pool web: done" in result.stdout


async def test_the_proxy_knows_that_the_command_line_asked(proxy: FakeProxy) -> None:
    """The report says who triggered it."""
    await cli("reload", "web", "--admin", proxy.url)
    assert proxy.runtime.triggers == ["cli"]


async def test_no_wait_returns_when_it_is_accepted(proxy: FakeProxy) -> None:
    """The rollout goes on without it."""
    proxy.runtime.outcome = "held"
    result = await cli("reload", "web", "--no-wait", "--admin", proxy.url)
    assert result.code == 0
    assert result.stdout == "rollout r1 of pool web: accepted\n"
    assert proxy.runtime.running("web") is not None


async def test_progress_shows_phase_in_flight_and_time_left(proxy: FakeProxy) -> None:
    """What is waited for, while it is waited for."""
    proxy.runtime.outcome = "held"
    web = proxy.runtime.pool("web")
    for _ in range(6):
        web.claim()
    results: list[Result] = []

    async def reload() -> None:
        results.append(await cli("reload", "web", "--admin", proxy.url))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reload)
        while not proxy.runtime.asked_for_rollout:
            await trio.sleep(0.01)
        proxy.runtime.go_on.set()
    assert "slot 0: generation 1 to 2: starting the replacement, the old backend drains (3 in flight, 12 s left)" in (
        results[0].stderr
    )


async def test_json_is_one_document_on_stdout(proxy: FakeProxy) -> None:
    """Programs read it whatever happened."""
    done = await cli("reload", "web", "--json", "--admin", proxy.url)
    assert done.document["refusals"] == {}
    (report,) = done.document["rollouts"]
    assert (report["id"], report["outcome"], len(report["slots"])) == ("r1", "done", 2)
    refused = await cli("reload", "legacy", "--json", "--admin", proxy.url)
    assert refused.code == 3
    assert refused.document["rollouts"] == []
    assert refused.document["refusals"]["legacy"]["code"] == "not-supervised"


@pytest.mark.parametrize("code", list(RefusalCode))
@pytest.mark.parametrize("names", [("web",), ()])
async def test_a_refusal_is_exit_code_3_with_its_reason(
    proxy: FakeProxy, code: RefusalCode, names: tuple[str, ...]
) -> None:
    """The code is printed for people and scripts."""
    problems = [{"path": "pools.web.size", "value": "-1", "allowed": "1 or more"}]
    proxy.runtime.refusal = Refused(code, "it cannot be now", {"problems": problems})
    result = await cli("reload", *names, "--admin", proxy.url)
    assert result.code == 3
    # The detail of an invalid configuration is the list of its problems, which is printed anyway.
    why = "the configuration cannot be used" if code is RefusalCode.CONFIG_INVALID else "it cannot be now"
    assert f"refused: {code.value}: {why}\n" in result.stderr
    assert "pools.web.size must be 1 or more, is -1" in result.stderr
    assert result.stdout == ""


async def test_a_failed_rollout_is_exit_code_4_with_the_backends_last_lines(proxy: FakeProxy) -> None:
    """What failed, why, what the backend said, and what to do."""
    proxy.runtime.outcome = "failed"
    result = await cli("reload", "web", "--admin", proxy.url)
    assert result.code == 4
    assert "rollout r1 of pool web failed: exited:" in result.stderr
    assert "it exited with code 1 before it was ready" in result.stderr
    assert "  ModuleNotFoundError: No module named 'shop'" in result.stderr
    assert result.stdout.startswith("rollout r1 of pool web: failed, 0 of 2 slots replaced")


@pytest.mark.parametrize(
    ("back", "told"), [(True, "pool web is back at the release before"), (False, "pool web is as it was")]
)
def test_a_rollback_says_what_it_brought_back(back: bool, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Where no slot was replaced nothing serves that did not, and nothing is at another release than before."""
    slots = [{"slot": 0, "rollback": rollback, "waited_for": [], "exchanges": {"cut": 0}} for rollback in {False, back}]
    found = Reload()
    found.reports["r1"] = {
        "id": "r1", "pool": "web", "outcome": "failed", "reason": "exited", "detail": "exited with status 1",
        "slots": slots, "output": [], "rolled_back": True, "locked": False,
    }  # fmt: skip
    tell_end(found, as_json=True, no_wait=False)
    assert capsys.readouterr().err.splitlines()[-1] == told


async def test_an_aborted_rollout_is_exit_code_4(proxy: FakeProxy) -> None:
    """It started, and did not do what was asked."""
    proxy.runtime.outcome = "held"
    results: list[Result] = []

    async def reload() -> None:
        results.append(await cli("reload", "web", "--admin", proxy.url))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reload)
        while proxy.runtime.running("web") is None:
            await trio.sleep(0.01)
        assert (await cli_later("abort", "web", "--admin", proxy.url)) == 0
        proxy.runtime.go_on.set()
    assert results[0].code == 4
    assert "rollout r1 of pool web aborted: ended by an operator before every slot was replaced\n" in results[0].stderr


async def cli_later(*arguments: str) -> int:
    """Run a command beside another one: as a program, for two cannot share one standard output."""
    code, _ = await on_terminal(*arguments)
    return code


async def test_a_mistyped_name_is_exit_code_2_and_nothing_is_reloaded(proxy: FakeProxy) -> None:
    """Not even the pools that were typed well."""
    result = await cli("reload", "web", "wbe", "--admin", proxy.url)
    assert result.code == 2
    assert result.stderr == "no pool 'wbe'; there is web, legacy\n"
    assert await proxy.runtime.rollouts() == ()


async def test_a_pool_that_is_refused_ends_it(proxy: FakeProxy) -> None:
    """What was typed after it is left alone."""
    result = await cli("reload", "legacy", "web", "--admin", proxy.url)
    assert result.code == 3
    assert "refused: not-supervised" in result.stderr
    assert await proxy.runtime.rollouts() == ()


async def test_on_a_terminal_it_draws_and_leaves_the_summary(proxy: FakeProxy) -> None:
    """One picture, drawn over and over, then gone."""
    proxy.runtime.outcome = "held"
    for _ in range(6):
        proxy.runtime.pool("web").claim()
    shown: list[tuple[int, str]] = []

    async def reload() -> None:
        shown.append(await on_terminal("reload", "web", "--admin", proxy.url))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reload)
        while not proxy.runtime.asked_for_rollout:
            await trio.sleep(0.01)
        proxy.runtime.go_on.set()
    code, text = shown[0]
    assert code == 0
    assert "pool web, rollout r1, drain-first" in text
    assert "in flight, 12 s left" in text
    assert "waits for its turn" in text
    assert "rollout r1 of pool web: done, 2 of 2 slots replaced" in text


async def test_a_proxy_that_forgets_the_rollout_is_an_error(proxy: FakeProxy) -> None:
    """It was restarted, and nobody knows how the rollout ended."""
    proxy.runtime.outcome = "held"
    results: list[Result] = []

    async def reload() -> None:
        results.append(await cli("reload", "web", "--admin", proxy.url))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reload)
        while not proxy.runtime.asked_for_rollout:
            await trio.sleep(0.01)
        proxy.runtime.forget_rollouts()
    assert results[0].code == 1
    assert "rollout r1 is not known any more" in results[0].stderr


async def test_a_new_pool_that_does_not_come_up_is_exit_code_4_with_its_last_lines(proxy: FakeProxy) -> None:
    """Nothing was taken over, and that is said too."""
    proxy.runtime.refusal = PoolNotStarted("site", "exit code 2 before it was ready", ["Traceback", "no such module"])
    result = await cli("reload", "--admin", proxy.url)
    assert result.code == 4
    assert "pool site is new and did not come up: exit code 2" in result.stderr
    assert "nothing of the configuration was taken over" in result.stderr
    assert "| no such module" in result.stderr
