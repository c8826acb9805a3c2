"""What an app sees of its client, under every server: what the proxy knows, and nothing that a client wrote."""

from __future__ import annotations

import json
import ssl
from pathlib import Path

import pytest
import trio
from websockets.trio.client import connect as connect_websocket

from tests.support.certificates import issue_certificate
from tests.support.client import Target, fetch
from tests.support.hotswap import Hotswap, run_hotswap

APP = """
import json

def asgi_view(scope):
    return {
        "client": scope["client"] and list(scope["client"])[:2], "scheme": scope["scheme"],
        "server": list(scope["server"] or ()), "fields": [name.decode() for name, _ in scope["headers"]],
        "mount": [scope.get("root_path", ""), scope["path"]],
    }

async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": json.dumps(asgi_view(scope))})
        await send({"type": "websocket.close"})
    else:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(asgi_view(scope)).encode()})

def wsgi(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    if environ["PATH_INFO"] == "/healthz":
        return [b"nobody"]
    return [json.dumps({
        "client": [environ["REMOTE_ADDR"], 0], "scheme": environ["wsgi.url_scheme"],
        "server": [environ["SERVER_NAME"], int(environ["SERVER_PORT"])],
        "fields": [name[5:].lower().replace("_", "-") for name in environ if name.startswith("HTTP_")],
        "mount": [environ["SCRIPT_NAME"], environ["PATH_INFO"]],
    }).encode()]
"""

POOLS = {
    "uvicorn-fd": 'server = "uvicorn"\napp = "shop:asgi"',
    "uvicorn-unix": 'server = "uvicorn"\napp = "shop:asgi"\nlisten = "unix"',
    "uvicorn-wsgi": 'server = "uvicorn"\napp = "shop:wsgi"\ninterface = "wsgi"',
    "gunicorn-threads": 'server = "gunicorn"\napp = "shop:wsgi"',
    "gunicorn-sync": 'server = "gunicorn"\napp = "shop:wsgi"\nlisten = "unix"\nargs = ["--threads", "1"]',
    "gunicorn-asgi": 'server = "gunicorn"\napp = "shop:asgi"\ninterface = "asgi"',
    "gunicorn-uvicorn": 'server = "gunicorn"\napp = "shop:asgi"\nargs = ["-k", "uvicorn.workers.UvicornWorker"]',
    "hypercorn": 'server = "hypercorn"\napp = "shop:asgi"',
    "hypercorn-trio": 'server = "hypercorn"\napp = "shop:asgi"\nargs = ["-k", "trio"]',
    "hypercorn-h2c": 'server = "hypercorn"\napp = "shop:asgi"\nprotocol = "h2c"',
    "hypercorn-wsgi": 'server = "hypercorn"\napp = "shop:wsgi"\ninterface = "wsgi"\nlisten = "unix"',
    "granian": 'server = "granian"\napp = "shop:asgi"',
    "granian-wsgi": 'server = "granian"\napp = "shop:wsgi"\ninterface = "wsgi"',
    "waitress": 'server = "waitress"\napp = "shop:wsgi"',
    "daphne": 'server = "daphne"\napp = "shop:asgi"',
}
"""Every server, with each interface, kind of socket and worker that may make a difference."""

ELSEWHERE = [
    {"hosts": ["old.test"], "path": "/", "pool": "", "files": "", "redirect": "https://shop.test"},
    {"hosts": ["media.test"], "path": "/", "pool": "", "files": "/usr/share/nothing-of-ours", "redirect": ""},
]
"""Routes that no pool answers, as the status has them."""

LISTENERS = """
[listeners.plain]
bind = ["127.0.0.1:0", "[::1]:0"]
[listeners.secure]
bind = ["127.0.0.1:0"]
tls = { certificates = [{ cert = "CERT", key = "KEY" }] }
[listeners.behind]
bind = ["127.0.0.1:0"]
trusted_proxies = ["127.0.0.1/32", "192.0.2.0/24"]
[listeners.balanced]
bind = ["127.0.0.1:0"]
proxy_protocol = true
trusted_proxies = ["127.0.0.1/32"]
"""

SPOOFED = (
    ("X-Forwarded-For", "6.6.6.6"),
    ("X-Forwarded-Proto", "gopher"),
    ("X-Forwarded-Port", "666"),
    ("X-Forwarded-Host", "evil.test"),
    ("X-Forwarded-Prefix", "//evil.test"),
    ("X-Forwarded-Ssl", "on"),
    ("Daphne-Root-Path", "/evil"),
    ("X_Forwarded_Prefix", "/evil"),
    ("X-Real-IP", "6.6.6.6"),
    ("X-Hotswap-Client", "6.6.6.6"),
    ("X_Hotswap_Client", "6.6.6.6"),
    ("X_Forwarded_For", "6.6.6.6"),
    ("Forwarded", "for=6.6.6.6;proto=gopher;host=evil.test"),
)
"""What a client writes who wants to be somebody else."""


def configuration(cert: Path, key: Path) -> str:
    """A pool of one backend for each, found by its name as the host."""
    pools = "".join(
        f'[[routes]]\nhosts = ["{name}.test"]\npool = "{name}"\n'
        f'[[routes]]\nhosts = ["{name}.test"]\npath = "/a%20b/c"\nstrip_prefix = true\npool = "{name}"\n'
        f"[pools.{name}]\nsize = 1\n{keys}\n"
        for name, keys in POOLS.items()
    )
    others = "".join(
        "[[routes]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in route.items())
        for route in ELSEWHERE
    )
    return LISTENERS.replace("CERT", str(cert)).replace("KEY", str(key)) + others + pools


async def view(target: Target, name: str, *fields: tuple[str, str], path: str = "/") -> dict[str, object]:
    """What the app of a pool sees of a request with these fields."""
    named = Target(address=target.address, tls=target.tls, host=f"{name}.test")
    told = (await fetch(named, path, headers=fields)).expect().json()
    assert "x-hotswap-client" not in told.pop("fields")
    assert isinstance(told, dict)
    return told


def seen(client: str, scheme: str, name: str, port: int, mount: tuple[str, str] = ("", "/")) -> dict[str, object]:
    """What the app of a pool is to see."""
    return {"client": [client, 0], "scheme": scheme, "server": [f"{name}.test", port], "mount": [*mount]}


async def balanced_view(port: int, name: str) -> dict[str, object]:
    """What the app of a pool sees of a request that a balancer relays as bytes, with the PROXY protocol."""
    head = f"PROXY TCP4 203.0.113.5 127.0.0.1 5000 80\r\nGET / HTTP/1.1\r\nHost: {name}.test\r\nConnection: close\r\n"
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(f"{head}\r\n".encode())
        answer = b"".join([piece async for piece in stream])
    told = json.loads(answer[answer.index(b"{") : answer.rindex(b"}") + 1])
    assert isinstance(told, dict)
    return told


async def target_at(
    hotswap: Hotswap, listener: str, index: int = 0, tls: ssl.SSLContext | None = None
) -> tuple[Target, int]:
    """How to reach a listener, and its port."""
    bound = str((await hotswap.status())["listeners"][listener]["bind"][index])
    host, _, port = bound.rpartition(":")
    return Target(address=(host.strip("[]"), int(port)), tls=tls), int(port)


@pytest.mark.fail_after(90)
async def test_the_app_sees_the_client_that_the_proxy_knows(tmp_path: Path):
    """Whatever a client writes, over HTTP and HTTPS, IPv4 and IPv6, and behind another proxy; WebSockets too."""
    (tmp_path / "shop.py").write_text(APP)
    issued = issue_certificate(tmp_path, *(f"{name}.test" for name in POOLS))
    async with run_hotswap(configuration(issued.cert, issued.key), tmp_path) as hotswap:
        assert (await hotswap.status())["routes"][:2] == ELSEWHERE
        plain, port = await target_at(hotswap, "plain")
        six, port6 = await target_at(hotswap, "plain", 1)
        secure, port_secure = await target_at(hotswap, "secure", tls=issued.trusting)
        behind, _ = await target_at(hotswap, "behind")
        _, balanced = await target_at(hotswap, "balanced")
        for name in POOLS:
            told = await view(plain, name, *SPOOFED)
            assert told == seen("127.0.0.1", "http", name, port)
            told = await view(six, name, *SPOOFED)
            assert told == seen("::1", "http", name, port6)
            told = await view(secure, name, *SPOOFED)
            assert told == seen("127.0.0.1", "https", name, port_secure)
            told = await view(plain, name, *SPOOFED, path="/a%20b/c/x%20y?z=1")
            assert told == seen("127.0.0.1", "http", name, port, ("/a b/c", "/x y"))
            chain = (("X-Forwarded-For", "6.6.6.6, 2001:db8::9, 192.0.2.1"), ("X-Forwarded-Proto", "https"))
            told = await view(behind, name, ("X-Hotswap-Client", "6.6.6.6"), *chain)
            assert told == seen("2001:db8::9", "https", name, 443)
            told = await view(behind, name, ("X-Forwarded-Prefix", "/outer/"), *chain, path="/a%20b/c")
            assert told == seen("2001:db8::9", "https", name, 443, ("/outer/a b/c", "/"))
            told = await balanced_view(balanced, name)
            assert told["client"] == ["203.0.113.5", 0], name
            if "wsgi" not in POOLS[name] and "h2c" not in POOLS[name]:
                url = f"ws://{name}.test/a%20b/c/socket"
                async with connect_websocket(
                    url, host="127.0.0.1", port=port, proxy=None, additional_headers=SPOOFED
                ) as session:
                    told = json.loads(await session.recv())
                assert told["client"] == ["127.0.0.1", 0], name
                assert told["scheme"] == "ws", name
                assert told["mount"] == ["/a b/c", "/socket"], name
