"""Clients of the demo app that speak HTTP/2 in their own ways: WebSocket on a stream, httpx, curl, h2load.

The kinds of `tests.support.clients` speak it as well, where the target says so.
"""

from __future__ import annotations

import json
import re
import subprocess
import uuid
from typing import Any

import httpx
import trio

from tests.support.client_http2 import Http2Connection, StreamWebSocket
from tests.support.clients import Client, Events, KeptGet, KeptPost, SlowDownload, SlowUpload
from tests.support.tools import require_tool
from tests.support.trouble import BadStatus, CutShort, WrongBody


class StreamedWebSocket(Client):
    """WebSocket sessions one after the other, each on a stream of one connection (RFC 8441)."""

    kind = "http/2 session"  # not "websocket": its connection has to outlive the backends
    messages = 8
    interval = 0.075

    async def turn(self) -> None:
        """Open a session, have every message echoed, close it."""
        self.turns += 1
        connection = await self.kept()
        assert isinstance(connection, Http2Connection)
        began = trio.current_time()
        session = StreamWebSocket(connection)
        await session.open("/ws")
        began = self.measure(began)
        for number in range(self.messages):
            message: str | bytes = f"{self.name} {self.turns} {number}"
            if number % 2:
                message = str(message).encode() * 500
            began = trio.current_time()
            await session.send(message)
            echo = await session.receive()
            self.measure(began)
            if echo != message:
                raise WrongBody(f"{echo[:100]!r} is not the echo of {message[:100]!r}")
            await trio.sleep(self.interval)
        await session.close()


class Httpx(Client):
    """httpx, with several requests at once over its one connection: GETs, and POSTs into the ledger."""

    kind = "httpx"
    streams = 4
    pace = 0.1

    _client: httpx.AsyncClient | None = None

    async def turn(self) -> None:
        """So many GETs and as many POSTs at once."""
        client = self._client
        if client is None:
            verify: Any = self.target.tls or False
            client = self._client = httpx.AsyncClient(
                http1=False, http2=True, verify=verify, base_url=self.target.url, timeout=10, trust_env=False
            )
        async with trio.open_nursery() as nursery:
            for _ in range(self.streams):
                nursery.start_soon(self._get, client)
                nursery.start_soon(self._post, client)

    async def _get(self, client: httpx.AsyncClient) -> None:
        began = trio.current_time()
        response = await client.get("/whoami", extensions={"trace": self._trace})
        self.measure(began)
        value = self.expect_json(_checked(response))
        if not isinstance(value.get("generation"), int):
            raise WrongBody(repr(value))

    async def _post(self, client: httpx.AsyncClient) -> None:
        identity = str(uuid.uuid4())
        self.count.sent.append(identity)
        began = trio.current_time()
        response = await client.post("/ledger", json={"id": identity}, extensions={"trace": self._trace})
        self.measure(began)
        self.expect_json(_checked(response), id=identity, count=1)
        self.count.acknowledged.append(identity)

    async def _trace(self, event: str, _info: dict[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            self.count.connections += 1

    async def leave(self) -> None:
        """Close its connection."""
        if self._client is not None:
            await self._client.aclose()


def _checked(response: httpx.Response) -> bytes:
    if response.status_code != 200:
        raise BadStatus(response.status_code, response.content)
    if response.http_version != "HTTP/2":
        raise WrongBody(response.http_version)
    return response.content


class Command(Client):
    """A program that makes requests, run again and again; each run has connections of its own."""

    pace = 0.2

    async def run(self, *command: str) -> str:
        """Run it.

        Raises:
            CutShort: It failed.
        """
        done = await trio.run_process(
            command, capture_stdout=True, stderr=subprocess.STDOUT, check=False, stdin=subprocess.DEVNULL
        )
        text = done.stdout.decode("utf-8", "replace")
        if done.returncode:
            raise CutShort(f"exit {done.returncode}: {text[-500:]}")
        return text


class Curl(Command):
    """curl, with a GET and a POST into the ledger; over TLS on one connection.

    By prior knowledge curl 7.88 cannot use a connection twice, whatever server it speaks to: there it runs twice.
    """

    kind = "fresh curl"

    async def turn(self) -> None:
        """One run, or two."""
        identity = str(uuid.uuid4())
        self.count.sent.append(identity)
        self.count.connections += 1
        tls = self.target.tls is not None
        version = "--http2" if tls else "--http2-prior-knowledge"
        common = ["-sk", version, "--max-time", "10", "-w", r"\n%{http_code} %{http_version} %{num_connects}\n"]
        get = [*common, f"{self.target.url}/whoami"]
        body = json.dumps({"id": identity})
        post = [*common, "-H", "Content-Type: application/json", "-d", body, f"{self.target.url}/ledger"]
        curl = require_tool("curl", package="curl")
        began = trio.current_time()
        if tls:
            text = await self.run(curl, *get, "--next", *post)
        else:
            text = await self.run(curl, *get) + await self.run(curl, *post)
        self.measure(began)
        who, first, entry, second = text.splitlines()
        if (first, second) != ("200 2 1", "200 2 0" if tls else "200 2 1"):
            raise BadStatus(int(second.split()[0]) or int(first.split()[0]), text.encode())
        self.expect_json(who.encode())
        self.expect_json(entry.encode(), id=identity, count=1)
        self.count.acknowledged.append(identity)


class H2load(Command):
    """h2load, with streams at once over two connections for a second."""

    kind = "fresh h2load"
    requests = 100

    async def turn(self) -> None:
        """One run: every one of its requests must succeed."""
        self.count.connections += 2
        text = await self.run(
            require_tool("h2load", package="nghttp2-client"),
            *["-n", str(self.requests), "-c", "2", "-m", "8", "--rps", "50", f"{self.target.url}/whoami"],
        )
        words = ", ".join(f"{self.requests} {word}" for word in ("total", "started", "done", "succeeded"))
        codes = re.search(r"status codes: (\d+) 2xx, 0 3xx, 0 4xx, 0 5xx", text)
        if f"{words}, 0 failed, 0 errored, 0 timeout" not in text or codes is None or int(codes[1]) != self.requests:
            raise CutShort(text[-1000:])


HTTP2_KINDS: tuple[type[Client], ...] = (
    KeptGet,
    KeptPost,
    SlowUpload,
    SlowDownload,
    Events,
    StreamedWebSocket,
    Httpx,
    Curl,
    H2load,
)
"""All that speak HTTP/2."""
