"""`hotswap apply`: SIGHUP with an answer, and its exit codes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio

from hotswap.cli.applying import certificate_words
from hotswap.core.errors import PoolNotStarted, Problem, RefusalCode, Refused
from hotswap.core.pool.last_error import LastError
from tests.support.certificates import issue_certificate
from tests.support.command_line import cli
from tests.support.fake_runtime import FakeProxy, open_fake_proxy
from tests.support.hotswap import run_hotswap
from tests.support.pools import command_pool, listeners


@pytest.fixture
async def proxy() -> AsyncIterator[FakeProxy]:
    """A fake proxy whose admin API answers."""
    async with open_fake_proxy() as fake:
        yield fake


async def test_what_changed_is_data(proxy: FakeProxy) -> None:
    """A line each; rollouts are waited for and told."""
    proxy.runtime.changes, proxy.runtime.changed = ("listener public changed", "pool new added"), ("web",)
    result = await cli("apply", "--admin", proxy.url)
    assert result.code == 0, result.stderr
    *changes, certificate, end = result.stdout.splitlines()
    assert certificate.startswith("certificate example.org of listener public: good until 2035-01-01 (")
    assert changes == [
        "listener public changed",
        "pool new added",
        "pool web changed: rollout r1 replaces its backends",
    ]
    assert end.startswith("rollout r1 of pool web: done, 2 of 2 slots replaced in ")
    assert "slot 0: generation 1 to 2: replaced" in result.stderr
    assert proxy.runtime.triggers == ["cli"]


async def test_it_says_that_nothing_changed(proxy: FakeProxy) -> None:
    """As a message, and with 0: certificates were loaded all the same."""
    proxy.runtime.changes = ()
    result = await cli("apply", "--admin", proxy.url)
    assert result.code == 0
    assert result.stdout.startswith("certificate example.org of listener public: good until ")
    assert "nothing in the configuration has changed" in result.stderr


async def test_pools_that_stay_down_are_in_the_document(proxy: FakeProxy) -> None:
    """For scripts: what the answer says, whatever status says a moment later."""
    proxy.runtime.changes, proxy.runtime.down = (), ("web",)
    result = await cli("apply", "--json", "--admin", proxy.url)
    assert (result.code, result.document["down"]) == (0, ["web"])


async def test_it_says_which_pool_stays_down_and_what_repairs_it(proxy: FakeProxy) -> None:
    """Who has repaired the code and not the file is not left with "nothing has changed"."""
    proxy.runtime.changes = ()
    core = proxy.runtime.pool("web")
    assert "repair" not in (await cli("apply", "--admin", proxy.url)).stderr
    for backend in tuple(core.backends):
        core.remove(backend)
        core.note_error(backend.slot, LastError(text="exited with status 1", exit="exit code 1"), unborn=True)
    result = await cli("apply", "--admin", proxy.url)
    assert "pool web still waits for a repair; once repaired: hotswap reload web\n" in result.stderr
    core.lock("rollout r1 failed")
    result = await cli("apply", "--admin", proxy.url)
    assert "; once repaired: hotswap unlock web, then hotswap reload web\n" in result.stderr


async def test_no_wait_returns_when_it_is_applied(proxy: FakeProxy) -> None:
    """The rollouts go on without it."""
    proxy.runtime.outcome, proxy.runtime.changed = "held", ("web",)
    result = await cli("apply", "--no-wait", "--admin", proxy.url)
    assert result.code == 0
    assert result.stdout.endswith("rollout r1 of pool web: accepted\n")
    assert proxy.runtime.running("web") is not None


async def test_json_is_one_document(proxy: FakeProxy) -> None:
    """What changed, the certificates, and how the rollouts went."""
    proxy.runtime.changed = ("web",)
    document = (await cli("apply", "--json", "--admin", proxy.url)).document
    assert set(document) == {"changes", "certificates", "down", "rollouts", "refusals"}
    assert document["changes"] == ["pool web: hold_limit"]
    assert [certificate["names"] for certificate in document["certificates"]] == [["example.org"]]
    assert [report["outcome"] for report in document["rollouts"]] == ["done"]


async def test_every_problem_is_printed_with_exit_code_2(proxy: FakeProxy) -> None:
    """And nothing changes."""
    proxy.runtime.config_problems = (
        Problem("pools.web.size", -1, "1 or more"),
        Problem("routes[0].pool", "none", "the name of a pool"),
    )
    result = await cli("apply", "--admin", proxy.url)
    assert (result.code, result.stdout) == (2, "")
    for word in ("pools.web.size", "routes[0].pool", "1 or more", "the name of a pool"):
        assert word in result.stderr


async def test_a_refusal_is_exit_code_3_with_its_code(proxy: FakeProxy) -> None:
    """Also as JSON."""
    proxy.runtime.refusal = Refused(RefusalCode.POOL_LOCKED, "pool web is locked", {"pool": "web"})
    result = await cli("apply", "--admin", proxy.url)
    assert (result.code, result.stdout) == (3, "")
    assert "refused: pool-locked: pool web is locked" in result.stderr
    again = await cli("apply", "--json", "--admin", proxy.url)
    assert again.code == 3
    assert again.document["refusals"]["web"]["code"] == "pool-locked"


async def test_a_failed_rollout_is_exit_code_4_with_the_backends_last_lines(proxy: FakeProxy) -> None:
    """As for `reload`."""
    proxy.runtime.outcome, proxy.runtime.changed = "failed", ("web",)
    result = await cli("apply", "--admin", proxy.url)
    assert result.code == 4
    assert "ModuleNotFoundError: No module named 'shop'" in result.stderr


async def test_a_new_pool_that_does_not_come_up_is_exit_code_4(proxy: FakeProxy) -> None:
    """With its last lines; nothing was taken over."""
    proxy.runtime.refusal = PoolNotStarted("new", "it exited with code 1", ["Traceback", "ImportError: shop"])
    result = await cli("apply", "--admin", proxy.url)
    assert result.code == 4
    assert "| ImportError: shop" in result.stderr


async def test_no_proxy_is_exit_code_1() -> None:
    """As for every verb."""
    assert (await cli("apply", "--admin", "unix:/nowhere/admin.sock")).code == 1


def test_a_certificate_is_told_in_one_line() -> None:
    """Its names, its listener, its end, and its file, where it has one."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    facts = {"listener": "public", "names": ["a.example", "*.a.example"], "file": "/etc/a.pem"}
    good = certificate_words({**facts, "expires": "2026-03-02T12:00:00+00:00"}, now)
    assert good == (
        "certificate a.example, *.a.example of listener public: good until 2026-03-02 (60 days), /etc/a.pem"
    )
    gone = certificate_words({**facts, "file": None, "names": [], "expires": "2025-12-31T00:00:00Z"}, now)
    assert gone == "certificate no name of listener public: EXPIRED on 2025-12-31"


async def test_an_interrupt_leaves_the_rollout_alone(proxy: FakeProxy) -> None:
    """It is said that it goes on."""
    from tests.support.command_line import command, environment

    proxy.runtime.outcome, proxy.runtime.changed = "held", ("web",)
    process = await trio.lowlevel.open_process(
        command("apply", "--admin", proxy.url), stdout=-1, stderr=-1, env=environment()
    )
    assert process.stderr is not None
    while proxy.runtime.running("web") is None or not proxy.runtime.asked_for_rollout:
        await trio.sleep(0.01)
    process.send_signal(2)
    told = b"".join([chunk async for chunk in process.stderr])
    assert await process.wait() == 1
    assert b"rollout r1 goes on without you" in told
    proxy.runtime.go_on.set()


async def test_a_renewed_certificate_and_a_changed_pool_are_applied(tmp_path: Path) -> None:
    """By a proxy that runs: what changed, until when the certificate is good, and a mistake that changes nothing."""
    certificates = issue_certificate(tmp_path)
    text = listeners(certificates) + command_pool(tmp_path, "faulty.plain")
    async with run_hotswap(text, tmp_path) as proxy:
        issue_certificate(tmp_path, "renewed.example")
        with proxy.config.open("a", encoding="utf-8") as file:
            file.write('\n[listeners.more]\nbind = ["127.0.0.1:0"]\n[pools.web.rollout]\nstrategy = "surge"\n')
        text = proxy.config.read_text(encoding="utf-8").replace('rollout = { "strategy" = "drain-first" }\n', "")
        proxy.config.write_text(text, encoding="utf-8")
        applied = await proxy.command("apply")
        assert applied.code == 0, applied.stderr
        assert "listener more opened\n" in applied.stdout
        assert "certificate renewed.example of listener secure: good until " in applied.stdout
        assert str(certificates.cert) in applied.stdout
        assert "pool web changed: rollout r1 replaces its backends\n" in applied.stdout
        assert "rollout r1 of pool web: done, 2 of 2 slots replaced" in applied.stdout
        again = await proxy.command("apply", "--json")
        assert again.code == 0
        assert json.loads(again.stdout)["changes"] == []
        proxy.config.write_text(f"{text}\nsizee = 1\n", encoding="utf-8")
        wrong = await proxy.command("apply")
        assert (wrong.code, wrong.stdout) == (2, "")
        assert "sizee" in wrong.stderr
