"""The same bytes to us, to nginx and to HAProxy, each before the same backend: whatever both refuse, we refuse.

Those two disagree with each other often enough, so that one of them refuses says little; that both do says that hardly
anybody needs it. What they forward and we refuse is no concern of this test: being stricter is the point.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path

import pytest
import trio

from tests.support.plane import open_plane
from tests.support.recording_backend import RecordingBackend, open_recording_backend
from tests.support.tools import require_tool
from tests.wire.payloads import accepted, framing, request_line

CORPUS = [
    *(case.raw for case in (*framing.CASES, *request_line.CASES)),
    *(case.raw for case in accepted.CASES),
]
SEED = 20160413
"""Mutations are the same in every run, so that a failure is one tomorrow as well."""
MUTATIONS = 3
INSERTED = (b" ", b"\t", b"\r", b"\n", b"\r\n", b"\x00", b"\x7f", b"\xff", b":", b",", b"0", b"/", b"#", b";", b"\x0b")
ANSWER_SECONDS = 0.5
"""After so long without an answer a server is waiting for more, which is no refusal."""
AT_A_TIME = 16


class Verdict(StrEnum):
    """What became of some bytes."""

    FORWARDED = "forwarded"
    REFUSED = "refused"
    WAITS = "waits"


NGINX = """
daemon off; master_process off; pid {directory}/nginx.pid; error_log {directory}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
  server {{
    listen unix:{socket};
    location / {{ proxy_pass http://127.0.0.1:{port}; proxy_http_version 1.1; }}
  }}
}}
"""

HAPROXY = """
defaults
  mode http
  timeout connect 5s
  timeout client 5s
  timeout server 5s
frontend clients
  bind unix@{socket}
  default_backend backends
backend backends
  server one 127.0.0.1:{port}
"""


@asynccontextmanager
async def run_server(command: list[str], path: Path) -> AsyncIterator[None]:
    """Run a server until the end of the block; it begins when the server's Unix socket takes connections."""
    process = await trio.lowlevel.open_process(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with trio.fail_after(10):
            while True:
                assert process.poll() is None, f"{command[0]} ended with {process.returncode}"
                try:
                    stream = await trio.open_unix_socket(path)
                except OSError:
                    await trio.sleep(0.02)
                else:
                    await stream.aclose()
                    break
        yield
    finally:
        process.terminate()
        with trio.CancelScope(shield=True):
            await process.wait()


async def judge(stream: trio.SocketStream, raw: bytes) -> Verdict:
    """Send some bytes and see what the first answer is."""
    received = b""
    async with stream:
        with trio.move_on_after(ANSWER_SECONDS):
            try:
                await stream.send_all(raw)
                while b"\n" not in received:
                    data = await stream.receive_some(65536)
                    if not data:
                        return Verdict.REFUSED
                    received += data
            except trio.BrokenResourceError:
                return Verdict.REFUSED
    if not received:
        return Verdict.WAITS
    return Verdict.FORWARDED if received.startswith((b"HTTP/1.1 2", b"HTTP/1.0 2")) else Verdict.REFUSED


def mutated(corpus: list[bytes]) -> list[bytes]:
    """Each case a few times more with a byte or two that make a difference, put in, taken out or doubled."""
    chance = random.Random(SEED)
    result = []
    for raw in corpus * MUTATIONS:
        data = bytearray(raw)
        place = chance.randrange(min(len(data), 200))
        match chance.randrange(3):
            case 0:
                data[place:place] = chance.choice(INSERTED)
            case 1:
                del data[place]
            case _:
                data[place : place + 1] = chance.choice(INSERTED)
        result.append(bytes(data))
    return result


@pytest.mark.fail_after(120)
async def test_what_nginx_and_haproxy_refuse_we_refuse(tmp_path: Path):
    """Every case of the corpus, and mutations of each: none is forwarded here that both refuse."""
    nginx = require_tool("nginx", package="nginx")
    haproxy = require_tool("haproxy", package="haproxy")
    sockets = {"nginx": tmp_path / "nginx.sock", "haproxy": tmp_path / "haproxy.sock"}
    verdicts: dict[tuple[str, bytes], Verdict] = {}
    cases = list(dict.fromkeys([*CORPUS, *mutated(CORPUS)]))
    async with open_recording_backend(RecordingBackend()) as (_, address), open_plane(address) as running:
        configurations = {"nginx": tmp_path / "nginx.conf", "haproxy": tmp_path / "haproxy.cfg"}
        for name, text in (("nginx", NGINX), ("haproxy", HAPROXY)):
            configurations[name].write_text(
                text.format(directory=tmp_path, socket=sockets[name], port=address.port), encoding="utf-8"
            )
        limit = trio.CapacityLimiter(AT_A_TIME)

        async def ask(raw: bytes) -> None:
            async with limit:
                ours = await trio.open_tcp_stream("127.0.0.1", running.port)
                verdicts["hotswap", raw] = await judge(ours, raw)
                if verdicts["hotswap", raw] is Verdict.FORWARDED:
                    for name, path in sockets.items():
                        verdicts[name, raw] = await judge(await trio.open_unix_socket(path), raw)

        async with (
            run_server([nginx, "-c", str(configurations["nginx"])], sockets["nginx"]),
            run_server([haproxy, "-db", "-f", str(configurations["haproxy"])], sockets["haproxy"]),
            trio.open_nursery() as nursery,
        ):
            for raw in cases:
                nursery.start_soon(ask, raw)
    forwarded = [raw for raw in cases if verdicts["hotswap", raw] is Verdict.FORWARDED]
    assert len(forwarded) > 20
    assert any(verdicts["nginx", raw] is Verdict.FORWARDED for raw in forwarded)
    assert any(verdicts["haproxy", raw] is Verdict.FORWARDED for raw in forwarded)
    lax = [raw for raw in forwarded if all(verdicts[name, raw] is Verdict.REFUSED for name in sockets)]
    assert lax == []
