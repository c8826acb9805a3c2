"""Speaking to the admin API of a running proxy over its unix socket."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.client import Connection, Response, Target, fetch, open_connection


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminEvent:
    """One event of `/v1/events`: its number, and what it says."""

    number: int
    kind: str
    data: dict[str, Any]


class Admin:
    """The admin API at a unix path."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._target = Target(address=path)

    async def call(self, method: str, path: str, value: object = None) -> Response:
        """Perform one call; whatever the status is, it is the caller's to judge."""
        headers = [("Accept", "application/json")]
        body = None
        if value is not None or method == "POST":
            headers.append(("Content-Type", "application/json"))
            body = b"" if value is None else json.dumps(value).encode()
        return await fetch(self._target, path, method=method, body=body, headers=headers)

    async def get(self, path: str) -> Any:
        """What a GET answers, as JSON; the status must be 200."""
        return (await self.call("GET", path)).expect().json()

    async def status(self) -> dict[str, Any]:
        """`GET /v1/status`."""
        found = await self.get("/v1/status")
        assert isinstance(found, dict)
        return found

    async def ready(self) -> bool:
        """Whether `/readyz` says so."""
        return (await self.call("GET", "/readyz")).status == 200

    async def metrics(self) -> str:
        """`GET /metrics`."""
        return (await self.call("GET", "/metrics")).expect().body.decode()

    async def reload(self, pool: str, *, wait: bool = False) -> Response:
        """Ask for a rollout of one pool."""
        return await self.call("POST", f"/v1/pools/{pool}/reload" + ("?wait=true" if wait else ""))

    async def events(self, *, after: int | None = None) -> AsyncGenerator[AdminEvent]:
        """Every event from now on, or from behind a number; ends when the proxy ends the stream."""
        async with open_connection(self._target) as connection:
            headers = [("Accept", "text/event-stream")]
            if after is not None:
                headers.append(("Last-Event-ID", str(after)))
            await connection.send_head("GET", "/v1/events", headers=headers)
            await connection.send_end()
            status, _ = await connection.head()
            assert status == 200, status
            async with aclosing(_parse_events(connection)) as events:
                async for event in events:
                    yield event


async def _parse_events(connection: Connection) -> AsyncGenerator[AdminEvent]:
    buffer = b""
    async with aclosing(connection.pieces()) as pieces:
        async for piece in pieces:
            buffer = (buffer + piece).replace(b"\r\n", b"\n")
            while b"\n\n" in buffer:
                block, _, buffer = buffer.partition(b"\n\n")
                fields: dict[str, str] = {}
                for line in block.decode().splitlines():
                    name, _, value = line.partition(":")
                    if name:
                        fields[name] = value.removeprefix(" ")
                if "data" in fields:
                    data = json.loads(fields["data"])
                    kind = fields.get("event") or str(data.get("kind", ""))
                    yield AdminEvent(number=int(fields.get("id") or 0), kind=kind, data=data)
