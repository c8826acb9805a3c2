"""The access log of a running proxy, in the formats that are configured."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import trio

from tests.support.client import Target
from tests.support.hotswap import run_hotswap
from tests.support.pools import command_pool, listeners, table

COMBINED = re.compile(
    r"(?P<client>\S+) - - \[\d\d/[A-Z][a-z]{2}/\d{4}(?::\d\d){3} \+0000\] "
    r'"(?P<request>[^"]*)" (?P<status>\d{3}) (?P<bytes>\d+) "(?P<referer>[^"]*)" "(?P<agent>[^"]*)"'
)


async def send_nonsense(target: Target) -> bytes:
    """What is answered to bytes that are no request."""
    assert not isinstance(target.address, Path)
    stream = await trio.open_tcp_stream(*target.address)
    async with stream:
        await stream.send_all(b"nonsense\r\n\r\n")
        return bytes(await stream.receive_some(65536))


@pytest.mark.parametrize("written", ["json", "combined"])
async def test_each_exchange_is_a_line_in_the_format_that_is_configured(tmp_path: Path, written: str):
    """What comes from the client is where readers of that format look for it; what was no request has a line too."""
    settings = {"state_dir": "state", "log_format": "json", "access_log": "access.log", "access_log_format": written}
    config = table("proxy", settings) + listeners() + command_pool(tmp_path, "faulty.plain")
    async with run_hotswap(config, tmp_path) as hotswap:
        headers = [("Referer", "https://example.org/a?token=secret"), ("User-Agent", 'quo"te')]
        body = (await hotswap.fetch("/healthz?key=secret", headers=headers)).expect().body
        assert (await send_nonsense(await hotswap.target())).startswith(b"HTTP/1.1 400 ")
    lines = (tmp_path / "access.log").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2
    assert "secret" not in "".join(lines)
    if written == "json":
        assert [json.loads(line)["status"] for line in lines] == [200, 400]
        return
    first, second = (COMBINED.fullmatch(line) for line in lines)
    assert first is not None
    assert second is not None
    assert first.groupdict() == {
        "client": "127.0.0.1",
        "request": "GET /healthz?key=*** HTTP/1.1",
        "status": "200",
        "bytes": str(len(body)),
        "referer": "https://example.org/a?token=***",
        "agent": r"quo\x22te",
    }
    assert (second["request"], second["status"]) == ("-", "400")
