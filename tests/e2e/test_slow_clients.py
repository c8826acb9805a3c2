"""Clients that send or read slowly, before every server: others do not notice, and WSGI does not even see them."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio

from tests.support.client import fetch
from tests.support.hotswap import run_hotswap
from tests.support.pools import table

SERVERS = [
    ("gunicorn", "wsgi"),
    ("waitress", "wsgi"),
    ("granian", "wsgi"),
    ("hypercorn", "wsgi"),
    ("uvicorn", "wsgi"),
    ("gunicorn", "asgi"),
    ("granian", "asgi"),
    ("hypercorn", "asgi"),
    ("uvicorn", "asgi"),
    ("daphne", "asgi"),
]
SLOW = 24
LENGTH = 4_000_000
APP = f"""
BODY = b"0123456789abcdef" * {LENGTH // 16}

def wsgi(environ, start_response):
    if environ["PATH_INFO"] == "/big":
        body = BODY
    else:
        body = b"%d" % len(environ["wsgi.input"].read())
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]

async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        for phase in ("startup", "shutdown"):
            await receive()
            await send({{"type": f"lifespan.{{phase}}.complete"}})
        return
    size, more = 0, True
    while more:
        event = await receive()
        if event["type"] == "http.disconnect":
            return
        size, more = size + len(event.get("body", b"")), event.get("more_body", False)
    body = BODY if scope["path"] == "/big" else b"%d" % size
    headers = [(b"content-length", b"%d" % len(body))]
    await send({{"type": "http.response.start", "status": 200, "headers": headers}})
    await send({{"type": "http.response.body", "body": body}})
"""
BOUND = 10.0
"""Seconds within which others are answered. Before a pool without buffering they never are: whoever is slow here stays
so for longer than the test lasts."""


def configured() -> str:
    """A pool of one backend for each server and interface, by host."""
    text = table("listeners.public", {"bind": ["127.0.0.1:0"]})
    for server, interface in SERVERS:
        name = f"{server}-{interface}"
        text += f'[[routes]]\nhosts = ["{name}.localhost"]\npool = "{name}"\n'
        values = {
            "server": server,
            "interface": interface,
            "app": f"shop:{interface}",
            "size": 1,
        }
        text += table(f"pools.{name}", values)
        text += table(f"pools.{name}.rollout", {"strategy": "surge"})
    return text


def connect(stack: ExitStack, port: int) -> socket.socket:
    """A client with a small buffer for what it reads."""
    client = stack.enter_context(socket.socket())
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    client.setblocking(False)
    return client


async def read_to_end(client: socket.socket) -> bytes:
    """Everything until the proxy closes."""
    data = bytearray()
    while True:
        await trio.lowlevel.wait_readable(client)
        piece = client.recv(1 << 20)
        if not piece:
            return bytes(data)
        data += piece


@pytest.mark.fail_after(110)
async def test_slow_clients_hold_nobody_up(tmp_path: Path):
    """24 of each kind before each server; a WSGI server has no thread, no drain and no rollout that waits for them."""
    (tmp_path / "shop.py").write_text(APP, encoding="utf-8")
    async with run_hotswap(configured(), tmp_path) as hotswap:
        address = (await hotswap.target()).address
        assert isinstance(address, tuple)
        port = address[1]
        with ExitStack() as stack:
            slow: dict[str, tuple[list[socket.socket], list[socket.socket]]] = {}
            for server, interface in SERVERS:
                name = f"{server}-{interface}"
                host = f"Host: {name}.localhost\r\nConnection: close\r\n".encode()
                senders = [connect(stack, port) for _ in range(SLOW)]
                readers = [connect(stack, port) for _ in range(SLOW)]
                for client in senders:
                    client.send(b"POST /upload HTTP/1.1\r\nContent-Length: 1000\r\n%b\r\na" % host)
                for client in readers:
                    client.send(b"GET /big HTTP/1.1\r\n%b\r\n" % host)
                slow[name] = senders, readers
            for server, interface in SERVERS:
                name = f"{server}-{interface}"
                to = await hotswap.target(host=f"{name}.localhost")
                for _ in range(3):
                    with trio.fail_after(BOUND):
                        (await fetch(to, "/")).expect()
            for name in slow:
                if name.endswith("wsgi"):
                    while any(backend["in_flight"] for backend in await hotswap.backends(name)):
                        await trio.sleep(0.05)
                    assert (await hotswap.pool(name))["spooled"] > LENGTH
            rollout = await hotswap.rollout("gunicorn-wsgi")
            assert rollout["outcome"] == "done", rollout
            assert rollout["slots"][0]["exchanges"]["cut"] == 0
            for name, (senders, _) in slow.items():
                for client in senders[:2]:
                    client.send(b"a" * 999)
                    body = (await read_to_end(client)).partition(b"\r\n\r\n")[2]
                    assert body == b"1000", name
            for name, (_, readers) in slow.items():
                if name.endswith("wsgi"):
                    body = (await read_to_end(readers[0])).partition(b"\r\n\r\n")[2]
                    assert body == b"0123456789abcdef" * (LENGTH // 16), name
