"""ASGI application of the demo, with its lifespan.

The store is opened by the lifespan's startup (or by the first request, for servers without lifespan). At
shutdown the server has already stopped accepting and waits until its requests are done; what is left is to
say so, in this order: last request done, database closed, exit. Never may the database close while a request
is inside.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import asdict
from http import HTTPStatus
from pathlib import Path

from demo.asgi import ClientGone, HttpError, Receive, Request, Scope, Send
from demo.identity import Identity, load_identity
from demo.opening import open_store
from demo.page import PAGE
from demo.store import Store

NOTE_LIMIT = 2000
"""Characters of a note."""


class Demo:
    """The application: call it with a scope, as ASGI servers do."""

    def __init__(self) -> None:
        self._store: Store | None = None
        self._opening = asyncio.Lock()
        self._inside = 0
        self._served = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._identity: Identity | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one lifespan, one HTTP request or one WebSocket."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        self._inside += 1
        self._idle.clear()
        try:
            if scope["type"] == "websocket":
                await _echo(receive, send)
            else:
                await self._serve(Request(scope=scope, receive=receive, send=send))
        finally:
            self._inside -= 1
            self._served += 1
            if self._inside == 0:
                self._idle.set()

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        boot_seconds = float(os.environ.get("DEMO_BOOT_SECONDS") or 0)
        if boot_seconds:
            _say(f"booting for {boot_seconds:g} s")
            await asyncio.sleep(boot_seconds)
        try:
            store = await self._opened()
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": f"cannot open the database: {error}"})
            return
        _say(f"database open: {store.place}")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._idle.wait()
        _say(f"last request done ({self._served} served)")
        await store.close()
        _say("database closed")
        # Servers re-raise the signal that stopped them, so nothing of ours would run after this line.
        _say("exit")
        await send({"type": "lifespan.shutdown.complete"})

    async def _opened(self) -> Store:
        async with self._opening:
            if self._store is None:
                self._store = await open_store(os.environ, name=f"demo {self.identity}")
            return self._store

    @property
    def identity(self) -> Identity:
        """Which backend this is; read once, for it cannot change."""
        if self._identity is None:
            self._identity = load_identity(os.environ, Path.cwd())
        return self._identity

    async def _serve(self, request: Request) -> None:
        try:
            await self._answer(request)
        except HttpError as problem:
            await request.respond_json({"detail": problem.detail}, status=problem.status)
        except ClientGone:
            pass

    async def _answer(self, request: Request) -> None:
        method = "GET" if request.method == "HEAD" else request.method
        match method, request.path:
            case "GET", "/":
                await request.respond(PAGE, content_type="text/html; charset=utf-8")
            case "GET", "/healthz":
                await request.respond_json({"status": "ok"})
            case "GET", "/whoami":
                await request.respond_json(asdict(self.identity))
            case "GET", "/slow":
                seconds = request.number("seconds", 1, most=600)
                await asyncio.sleep(seconds)
                await request.respond_json({"slept": seconds, **asdict(self.identity)})
            case "GET", "/stream":
                await self._stream(request)
            case "GET", "/events":
                await self._events(request)
            case "POST" | "PUT", "/upload":
                await _measure(request)
            case "POST", "/ledger":
                await self._record(request)
            case "GET", "/ledger":
                await request.respond_json(asdict(await (await self._opened()).ledger()))
            case "GET", "/api/notes":
                notes = await (await self._opened()).notes()
                await request.respond_json({"notes": [asdict(note) for note in notes]})
            case "POST", "/api/notes":
                await self._add_note(request)
            case "DELETE", path if path.startswith("/api/notes/"):
                await self._delete_note(request, path.removeprefix("/api/notes/"))
            case _, path if path in _METHODS:
                raise HttpError(HTTPStatus.METHOD_NOT_ALLOWED, f"{path} allows {_METHODS[path]}")
            case _:
                raise HttpError(HTTPStatus.NOT_FOUND, "no such page")

    async def _stream(self, request: Request) -> None:
        lines = int(request.number("lines", 4096, most=2**24))
        seconds = request.number("seconds", 2, most=600)
        parts = max(1, min(lines, int(request.number("parts", 20, most=10_000))))

        async def pieces() -> AsyncIterator[bytes]:
            sent = 0
            for part in range(1, parts + 1):
                end = lines * part // parts
                yield b"".join(b"%015d\n" % number for number in range(sent, end))
                sent = end
                if part < parts:
                    await asyncio.sleep(seconds / (parts - 1))

        await request.stream(pieces(), content_type="text/plain")

    async def _events(self, request: Request) -> None:
        # The stream ends by itself so that a drain need not wait for it: browsers come back by themselves,
        # with the number of the last event they saw, and reach whichever backend is ready then.
        count = int(request.number("count", 15, most=100_000))
        interval = request.number("interval", 1, most=600)
        last = request.header(b"last-event-id") or ""
        first = int(last) + 1 if last.isdecimal() else 1

        async def pieces() -> AsyncIterator[bytes]:
            yield b"retry: 100\n\n"
            for number in range(first, first + count):
                yield f"id: {number}\ndata: {number} from {self.identity}\n\n".encode()
                if number + 1 < first + count:
                    await asyncio.sleep(interval)

        await request.stream(pieces(), content_type="text/event-stream")

    async def _record(self, request: Request) -> None:
        identity = (await request.json_body()).get("id")
        if not isinstance(identity, str) or not identity:
            raise HttpError(HTTPStatus.BAD_REQUEST, "id must be a text")
        count = await (await self._opened()).record(identity)
        await request.respond_json({"id": identity, "count": count})

    async def _add_note(self, request: Request) -> None:
        text = (await request.json_body()).get("text")
        if not isinstance(text, str) or not 0 < len(text.strip()) <= NOTE_LIMIT:
            raise HttpError(HTTPStatus.BAD_REQUEST, f"text must have 1 to {NOTE_LIMIT} characters")
        store = await self._opened()
        note = await store.add_note(text.strip(), written_by=str(self.identity), now=time.time())
        await request.respond_json(asdict(note), status=HTTPStatus.CREATED)

    async def _delete_note(self, request: Request, number: str) -> None:
        if not number.isdecimal() or not await (await self._opened()).delete_note(int(number)):
            raise HttpError(HTTPStatus.NOT_FOUND, "no such note")
        await request.respond_json({"deleted": int(number)})


_METHODS = {
    "/": "GET",
    "/healthz": "GET",
    "/whoami": "GET",
    "/slow": "GET",
    "/stream": "GET",
    "/events": "GET",
    "/upload": "POST, PUT",
    "/ledger": "GET, POST",
    "/api/notes": "GET, POST",
}


async def _measure(request: Request) -> None:
    size = 0
    digest = hashlib.sha256()
    async for piece in request.chunks():
        size += len(piece)
        digest.update(piece)
    await request.respond_json({"size": size, "sha256": digest.hexdigest()})


async def _echo(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        echo = {key: event[key] for key in ("text", "bytes") if event.get(key) is not None}
        await send({"type": "websocket.send", **echo})


def _say(line: str) -> None:
    sys.stdout.write(f"demo: {line}\n")
    sys.stdout.flush()


app = Demo()
"""The application, for `uvicorn demo:app` and its like."""
