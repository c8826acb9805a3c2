"""Schemathesis calls everything that `/openapi.json` describes, with what it says and with what it does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import trio

from tests.support.fake_runtime import open_fake_proxy
from tests.support.hotswap import run_hotswap
from tests.support.pools import command_pool, listeners

SECONDS = 12.0
"""How long it may search."""

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"

# The stream never ends, which no such tool can wait for; /readyz answers 503 while slots are refilled, which is its
# job; and the last two would end what is being tested.
LEFT_OUT = "^/v1/events$|^/readyz$|^/v1/stop$|^/v1/takeover$"


# Names that are there, or it would only ever learn that its inventions are not.
KNOWN = """
[parameters]
"path.pool" = "web"
"path.slot" = "0"
"path.rollout" = "r1"
"""


async def search(url: str, directory: Path, *, checks: str, known: bool = False) -> subprocess.CompletedProcess[bytes]:
    """Run it in a process of its own."""
    (directory / "known.toml").write_text(KNOWN if known else "", encoding="utf-8")
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(directory / "known.toml")]
    command += ["run", f"{url}/openapi.json"]
    options = ["--checks", checks, "--exclude-path-regex", LEFT_OUT, "--phases", "examples,coverage,fuzzing"]
    bounds = ["--max-examples", "15", "--generation-deterministic", "--max-failures", "5", "--request-timeout", "20"]
    bounds += ["--max-time", str(int(SECONDS))]
    result: subprocess.CompletedProcess[bytes] = await trio.run_process(
        [*command, *options, *bounds, "--no-color"],
        cwd=directory,
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
    return result


@pytest.mark.fail_after(5 * SECONDS)
async def test_no_call_of_the_description_is_answered_by_a_500(tmp_path: Path) -> None:
    """And each answer has a status, a media type and a shape that the description names."""
    async with open_fake_proxy() as proxy:
        with trio.fail_after(4 * SECONDS):
            result = await search(proxy.url, tmp_path, checks=CHECKS)
        assert result.returncode == 0, result.stdout.decode()[-8000:] + result.stderr.decode()[-2000:]


@pytest.mark.fail_after(6 * SECONDS)
async def test_no_call_brings_a_running_proxy_to_a_500(tmp_path: Path) -> None:
    """Reloads, drains, pauses and aborts in any order, with real backends behind."""
    admin = f'[admin]\nbind = ["127.0.0.1:0", "unix:{tmp_path}/admin.sock"]\n'
    config = admin + listeners() + command_pool(tmp_path, "faulty.plain")
    async with run_hotswap(config, tmp_path) as hotswap:
        await hotswap.wait_line("admin.listening")
        (record,) = [one for one in hotswap.records() if one.get("event") == "admin.listening"]
        with trio.fail_after(5 * SECONDS):
            result = await search(f"http://{record['addresses'][0]}", tmp_path, checks="not_a_server_error", known=True)
        assert result.returncode == 0, result.stdout.decode()[-8000:] + result.stderr.decode()[-2000:]
        assert not hotswap.written('"admin.failed"')
