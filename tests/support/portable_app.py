"""The part of the demo that the clients of a load use, for every server: ASGI on any event loop, and WSGI.

The demo itself is an asyncio program; this one calls nothing of a loop but its sleep, so that it also runs where trio
does. Its ledger is the demo's table, written in place, which is short enough for a test.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qs

import sniffio

_lock = threading.Lock()
_ledger: list[sqlite3.Connection] = []


def _whoami() -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "slot": int(os.environ["HOTSWAP_SLOT"]),
        "generation": int(os.environ["HOTSWAP_GENERATION"]),
        "release": "portable",
    }


def _record(body: bytes) -> dict[str, Any]:
    identity = json.loads(body)["id"]
    with _lock:
        if not _ledger:
            connection = sqlite3.connect(
                os.environ["LEDGER"], timeout=10, isolation_level=None, check_same_thread=False
            )
            connection.execute("CREATE TABLE IF NOT EXISTS ledger (id TEXT PRIMARY KEY, count INTEGER NOT NULL)")
            _ledger.append(connection)
        rows = _ledger[0].execute(
            "INSERT INTO ledger VALUES (?, 1) ON CONFLICT (id) DO UPDATE SET count = count + 1 RETURNING count",
            (identity,),
        )
        return {"id": identity, "count": rows.fetchall()[0][0]}


def _answer(path: str, body: Iterable[bytes]) -> dict[str, Any]:
    """What is answered at once, from the whole body."""
    match path:
        case "/healthz":
            return {"status": "ok"}
        case "/ledger":
            return _record(b"".join(body))
        case "/upload":
            size, digest = 0, hashlib.sha256()
            for piece in body:
                size += len(piece)
                digest.update(piece)
            return {"size": size, "sha256": digest.hexdigest()}
        case _:
            return _whoami()


def _pieces(path: str, query: str, last_event: str) -> Iterator[tuple[bytes, float]]:
    """What is streamed: each piece, and for how many seconds to rest behind it."""
    values = {name: float(value[-1]) for name, value in parse_qs(query).items()}
    if path == "/stream":
        lines, parts = int(values["lines"]), int(values["parts"])
        for part in range(parts):
            numbers = range(lines * part // parts, lines * (part + 1) // parts)
            yield b"".join(b"%015d\n" % number for number in numbers), values["seconds"] / parts
    else:
        first = int(last_event or 0) + 1
        for number in range(first, first + int(values["count"])):
            yield b"id: %d\ndata: .\n\n" % number, values["interval"]


async def _sleep(seconds: float) -> None:
    if sniffio.current_async_library() == "trio":
        import trio

        await trio.sleep(seconds)
    else:
        import asyncio

        await asyncio.sleep(seconds)


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    """The app for servers of ASGI."""
    if scope["type"] == "lifespan":
        for phase in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{phase}.complete"})
        return
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (event := await receive())["type"] == "websocket.receive":
            echo = {key: event[key] for key in ("text", "bytes") if event.get(key) is not None}
            await send({"type": "websocket.send", **echo})
        return
    path, query = scope["path"], scope["query_string"].decode()
    if path in ("/stream", "/events"):
        fields = {bytes(name): bytes(value).decode() for name, value in scope["headers"]}
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for piece, rest in _pieces(path, query, fields.get(b"last-event-id", "")):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await _sleep(rest)
        await send({"type": "http.response.body", "body": b""})
        return
    pieces = []
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            return
        pieces.append(event.get("body", b""))
        if not event.get("more_body"):
            break
    body = json.dumps(_answer(path, pieces)).encode()
    headers = [(b"content-length", str(len(body)).encode()), (b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """The app for servers of WSGI."""
    path = environ["PATH_INFO"]
    if path in ("/stream", "/events"):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return _stream(path, environ["QUERY_STRING"], environ.get("HTTP_LAST_EVENT_ID", ""))
    body = json.dumps(_answer(path, iter(lambda: environ["wsgi.input"].read(65536), b""))).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def _stream(path: str, query: str, last_event: str) -> Iterator[bytes]:
    for piece, rest in _pieces(path, query, last_event):
        yield piece
        time.sleep(rest)
