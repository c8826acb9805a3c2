"""Rules of a route that judge a request at once: redirect, allow and deny, rate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hotswap.core.address import UnixAddress
from hotswap.core.config import RouteTable
from tests.support.http2_client import connect_http2
from tests.support.http2_frames import POST
from tests.support.stage import GET, OK, Line, Stage, open_stage

pytestmark = pytest.mark.fail_after(20)

WEBSOCKET = (
    b"GET /ws HTTP/1.1\r\nHost: example.org\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def route(**keys: Any) -> RouteTable:
    """A route as the configuration has it."""
    return RouteTable.model_validate({"pool": "web", **keys})


async def ask(line: Line, request: bytes = GET) -> bytes:
    """The first line of the answer to a request that no backend sees."""
    await line.send(request)
    head, _ = await line.read_response()
    return head.split(b"\r\n")[0].removeprefix(b"HTTP/1.1 ")


async def serve(stage: Stage, line: Line, request: bytes = GET) -> None:
    """Have a request answered by the backend, over a connection of its own or the one it has."""
    await line.send(request)
    backend = await stage.backend.accept()
    await backend.read_head()
    await backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
    backend.close()
    head, _ = await line.read_response()
    assert head.startswith(b"HTTP/1.1 200 ")


def forwarded(client: str, request: bytes = GET) -> bytes:
    """A request that a proxy next to us tells the client of."""
    return request.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: %b\r\n\r\n" % client.encode())


REDIRECTS = [RouteTable(redirect="https://example.org", hosts=("www.example.org",)), RouteTable(pool="web")]
WWW = b"GET /a/b?c=d HTTP/1.1\r\nHost: www.example.org\r\n\r\n"


async def test_a_redirect_leads_to_the_same_path_elsewhere():
    """The connection goes on, and a request for another host is not redirected."""
    async with open_stage(routes=REDIRECTS) as stage:
        client = await stage.connect()
        await client.send(WWW)
        head, body = await client.read_response()
        assert head.startswith(b"HTTP/1.1 301 Moved Permanently\r\n")
        assert b"\r\nLocation: https://example.org/a/b?c=d\r\n" in head
        assert body == b"301 Moved Permanently\n"
        await serve(stage, client)
        records = await stage.wait_records(2)
        assert [(record["status"], record["side"]) for record in records] == [(301, ""), (200, "")]


@pytest.mark.parametrize(
    ("method", "status"), [("GET", b"301"), ("HEAD", b"301"), ("POST", b"308"), ("DELETE", b"308"), ("OPTIONS", b"308")]
)
async def test_a_redirect_keeps_method_and_body(method, status):
    """301 lets a client make a GET of anything else (RFC 9110 15.4.2), 308 does not."""
    async with open_stage(routes=REDIRECTS) as stage:
        client = await stage.connect()
        await client.send(WWW.replace(b"GET", method.encode()))
        assert (await client.read_head()).split(b" ")[1] == status


async def test_a_redirect_of_a_request_without_a_path():
    """`OPTIONS *` leads to the root, and a target of several slashes stays on the host that is configured."""
    async with open_stage(routes=[RouteTable(redirect="https://example.org")]) as stage:
        for target, location in ((b"*", b"/"), (b"//evil.example/x", b"//evil.example/x")):
            client = await stage.connect()
            await client.send(b"OPTIONS %b HTTP/1.1\r\nHost: evil.example\r\n\r\n" % target)
            assert b"\r\nLocation: https://example.org%b\r\n" % location in await client.read_head()


async def test_a_redirect_of_a_request_of_http2_and_one_of_http10():
    """They are redirected alike."""
    async with open_stage(routes=REDIRECTS, http2=True) as stage:
        client = await stage.connect()
        await client.send(WWW.replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert (await client.read_to_end()).startswith(b"HTTP/1.1 301 ")
        http2 = await connect_http2(stage)
        await http2.request(
            1,
            [(b":authority", b"www.example.org") if name == b":authority" else (name, value) for name, value in POST],
            b"body",
        )
        await http2.wait_end(1)
        assert http2.status(1) == 308


async def test_who_is_not_allowed_is_answered_403():
    """Nothing of the request reaches a backend; the connection goes on."""
    async with open_stage(routes=[route(path="/admin", allow=["10.0.0.0/8"]), route()]) as stage:
        client = await stage.connect()
        assert await ask(client, GET.replace(b"/ ", b"/admin/ ")) == b"403 Forbidden"
        await serve(stage, client)
        (first, _) = await stage.wait_records(2)
        assert first["error"] == "the client's address is not allowed"
        assert stage.plane.tally.requests["public", "web", "GET", 403] == 1


@pytest.mark.parametrize(
    ("allow", "deny", "client", "served"),
    [
        (["10.0.0.0/8"], [], "10.1.2.3", True),
        (["10.0.0.0/8"], [], "::ffff:10.1.2.3", True),
        (["10.0.0.0/8"], [], "11.1.2.3", False),
        (["10.0.0.0/8"], ["10.1.0.0/16"], "10.1.2.3", False),
        (["10.0.0.0/8"], ["10.1.0.0/16"], "10.2.2.3", True),
        ([], ["2001:db8::/32"], "2001:db8::1", False),
        ([], ["2001:db8::/32"], "2001:db9::1", True),
        (["10.0.0.0/8"], [], "unknown", False),
        ([], ["10.0.0.0/8"], "unknown", True),
        # Whatever stands further left was written by the client.
        (["10.0.0.0/8"], [], "10.1.2.3, 192.0.2.1", False),
    ],
)
async def test_the_client_is_judged_whom_the_proxy_found(allow, deny, client, served):
    """Of trusted proxies, the one they tell of; deny wins, and who has no address is in no network."""
    rules = route(allow=allow, deny=deny)
    async with open_stage(routes=[rules], trusted_proxies=["127.0.0.0/8"]) as stage:
        line = await stage.connect()
        if served:
            await serve(stage, line, forwarded(client))
        else:
            assert await ask(line, forwarded(client)) == b"403 Forbidden"


async def test_nobody_is_believed_who_is_not_trusted():
    """The peer's own address counts."""
    async with open_stage(routes=[route(allow=["10.0.0.0/8"])]) as stage:
        assert await ask(await stage.connect(), forwarded("10.1.2.3")) == b"403 Forbidden"


async def test_a_client_at_a_unix_socket_has_no_address(tmp_path: Path):
    """It is not among those who are allowed."""
    async with open_stage(
        routes=[route(allow=["0.0.0.0/0", "::/0"])], bind_to=UnixAddress(str(tmp_path / "s"))
    ) as stage:
        assert await ask(await stage.connect()) == b"403 Forbidden"


async def test_an_upgrade_is_judged_like_any_request():
    """Not only what is answered at once."""
    async with open_stage(routes=[route(deny=["127.0.0.1"])]) as stage:
        assert await ask(await stage.connect(), WEBSOCKET) == b"403 Forbidden"


async def test_who_comes_too_often_is_answered_429():
    """With the time to wait, and nothing reaches a backend; after that time it is served."""
    async with open_stage(routes=[route(rate="1/m", burst=1)]) as stage:
        client = await stage.connect()
        await serve(stage, client)
        await serve(stage, client)
        await client.send(GET)
        head, body = await client.read_response()
        assert head.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
        assert b"\r\nRetry-After: 60\r\n" in head
        assert body == b"429 Too Many Requests\n"
        await stage.let_pass(59.5)
        await client.send(GET)
        assert b"\r\nRetry-After: 1\r\n" in (await client.read_response())[0]
        await stage.let_pass(1.0)
        await serve(stage, client)


@pytest.mark.parametrize(
    "request_", [b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", WEBSOCKET, GET.replace(b"GET", b"HEAD")]
)
async def test_every_request_counts(request_):
    """Of whatever method, and what asks for a tunnel."""
    async with open_stage(routes=[route(rate="1/h")]) as stage:
        client = await stage.connect()
        await client.send(request_)
        backend = await stage.backend.accept()
        await backend.read_head()
        await backend.send(OK)
        backend.close()
        other = await stage.connect()
        assert await ask(other) == b"429 Too Many Requests"


async def test_each_stream_of_http2_counts():
    """Not each connection."""
    async with open_stage(routes=[route(rate="1/h", burst=1)], http2=True) as stage:
        client = await connect_http2(stage)
        for stream in (1, 3, 5, 7):
            await client.request(stream)
        await client.wait_end(5)
        await client.wait_end(7)
        assert (client.status(5), client.status(7)) == (429, 429)
        await stage.wait_in_flight(2)


async def test_clients_behind_a_proxy_are_counted_apart():
    """Those of one /64 of IPv6 together."""
    async with open_stage(routes=[route(rate="1/h")], trusted_proxies=["127.0.0.1"]) as stage:
        client = await stage.connect()
        await serve(stage, client, forwarded("192.0.2.1"))
        await serve(stage, client, forwarded("192.0.2.2"))
        await serve(stage, client, forwarded("2001:db8::1"))
        assert await ask(client, forwarded("192.0.2.1")) == b"429 Too Many Requests"
        assert await ask(client, forwarded("2001:db8::2")) == b"429 Too Many Requests"
        await serve(stage, client, forwarded("2001:db8:0:1::1"))


async def test_a_reload_keeps_what_was_counted_where_the_route_stays():
    """One with another rate begins anew, and so does one that was gone meanwhile."""
    limited = route(path="/a", rate="1/h")
    async with open_stage(routes=[limited, route()]) as stage:
        client, request = await stage.connect(), GET.replace(b"/ ", b"/a ")
        await serve(stage, client, request)
        stage.plane.set_routes([route(), route(path="/a", rate="1/h", headers={"X-A": "b"})])
        assert await ask(client, request) == b"429 Too Many Requests"
        stage.plane.set_routes([route(path="/a", rate="2/h"), route()])
        await serve(stage, client, request)
        stage.plane.set_routes([route()])
        stage.plane.set_routes([route(path="/a", rate="2/h"), route()])
        await serve(stage, client, request)


async def test_who_is_not_allowed_is_not_counted():
    """Addresses are judged before rates."""
    rules = route(deny=["192.0.2.0/24"], rate="1/h")
    async with open_stage(routes=[rules], trusted_proxies=["127.0.0.1"]) as stage:
        client = await stage.connect()
        for _ in range(3):
            assert await ask(client, forwarded("192.0.2.1")) == b"403 Forbidden"
