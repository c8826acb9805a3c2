"""Pages for errors of the proxy's own: who gets which, over both versions of HTTP, and at what pace."""

from __future__ import annotations

import re
import socket
import ssl

import pytest
import trio

from hotswap.core.config import RouteTable, TlsTable
from hotswap.core.http.contents import Contents
from hotswap.core.pool.pause_answer import MAX_PAGE_BYTES, PauseAnswer
from hotswap.edge.client.certificates import development_authority
from hotswap.edge.client.tls import AUTHORITY, open_context
from hotswap.edge.exchange.gate import STEP
from hotswap.edge.exchange.page_carrier import PIECE_BYTES
from hotswap.edge.loop.stream import HIGH_WATER
from tests.support.http2_client import connect_http2
from tests.support.http2_frames import GET as GET_2
from tests.support.stage import GET, Stage, open_stage

pytestmark = pytest.mark.fail_after(20)

HTML = b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
BROWSE = GET.replace(b"\r\n\r\n", b"\r\n" + HTML + b"\r\n")
BROWSE_2 = (*GET_2, (b"accept", b"text/html,*/*;q=0.8"))
OWN = b"<!doctype html><title>ours</title>"
ROUTES = (RouteTable(hosts=("example.org",), pool="web"),)


def set_pages(stage: Stage, pages: dict[int, bytes]) -> None:
    """Give the pool pages of its own, as a reload does."""
    stage.plane.set_routes(ROUTES, Contents(pages={"web": pages}))


async def test_a_browser_gets_a_page_that_names_the_request():
    """By the id in the access log, whatever became of it before: this one has never met a pool."""
    async with open_stage(routes=ROUTES) as stage:
        client = await stage.connect()
        await client.send(BROWSE.replace(b"example.org", b"elsewhere"))
        head, body = await client.read_response()
        assert head.startswith(b"HTTP/1.1 404 Not Found\r\n")
        assert b"\r\nContent-Type: text/html; charset=utf-8\r\n" in head
        assert b"\r\nCache-Control: no-store\r\n" in head
        assert head.count(b"\r\nDate: ") == 1
        assert b"elsewhere" not in body
        (record,) = await stage.wait_records()
        assert record["request_id"]
        assert f"<code>{record['request_id']}</code>".encode() in body
        assert record["response_bytes"] == len(body)


@pytest.mark.parametrize("accept", [b"", b"Accept: */*\r\n", b"Accept: application/json\r\n"])
async def test_all_others_get_the_line_of_text(accept):
    """Programs read it, and logs show it."""
    async with open_stage(routes=ROUTES) as stage:
        set_pages(stage, {404: OWN, 503: OWN})
        client = await stage.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n" + accept + b"\r\n")
        head, body = await client.read_response()
        assert b"\r\nContent-Type: text/plain; charset=utf-8\r\n" in head
        assert body == b"404 Not Found\n"


async def test_a_pool_has_its_own_pages():
    """For the statuses that it has one for, until a reload brings others; the default for the rest."""
    async with open_stage(routes=ROUTES, limits={"body_bytes": "10B"}) as stage:
        set_pages(stage, {413: OWN})
        post = b"POST / HTTP/1.1\r\nHost: example.org\r\nContent-Length: 50\r\n" + HTML + b"\r\n"
        client = await stage.connect()
        await client.send(post)
        head, body = await client.read_response()
        assert (head.split(b" ")[1], body) == (b"413", OWN)
        assert b"Content-Security-Policy" not in head
        set_pages(stage, {404: OWN})
        client = await stage.connect()
        await client.send(post)
        head, body = await client.read_response()
        assert b"<h1>That is too large</h1>" in body
        assert b"\r\nContent-Security-Policy: default-src 'none';" in head
        # No pool is known for another host.
        client = await stage.connect()
        await client.send(BROWSE.replace(b"example.org", b"elsewhere"))
        assert b"<h1>Page not found</h1>" in (await client.read_response())[1]


async def test_what_a_backend_answers_is_its_own():
    """A 503 of the app goes on as it is."""
    async with open_stage(routes=ROUTES) as stage:
        set_pages(stage, {503: OWN})
        client = await stage.connect()
        await client.send(BROWSE)
        await stage.backend.serve_one(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy")
        head, body = await client.read_response()
        assert head.startswith(b"HTTP/1.1 503 Busy\r\n")
        assert body == b"busy"


async def test_a_pool_that_is_down_tells_when_to_come_back():
    """With Retry-After; the page and the connection go on."""
    async with open_stage(backends=0, routes=ROUTES) as stage:
        set_pages(stage, {503: OWN})
        client = await stage.connect()
        for _ in range(2):
            await client.send(BROWSE)
            head, body = await client.read_response()
            assert re.search(rb"\r\nRetry-After: \d+\r\n", head)
            assert body == OWN
        await client.send(BROWSE.replace(b"GET", b"HEAD"))
        head = await client.read_head()
        assert b"\r\nContent-Length: %d\r\n" % len(OWN) in head
        await client.send(GET)
        assert (await client.read_response())[1] == b"503 Service Unavailable\n"


async def test_over_http_2_it_is_the_same():
    """GET and HEAD, of a pool, of none, and what never became an exchange."""
    async with open_stage(backends=0, routes=ROUTES) as stage:
        set_pages(stage, {503: OWN})
        client = await connect_http2(stage)
        await client.request(1, BROWSE_2)
        await client.wait_end(1)
        assert client.answer(1) == (503, OWN)
        await client.request(
            3, tuple((b":method", b"HEAD") if name == b":method" else (name, value) for name, value in BROWSE_2)
        )
        await client.wait_end(3)
        assert client.answer(3) == (503, b"")
        assert dict(client.read.fields[3][0])[b"content-length"] == b"%d" % len(OWN)
        refused = tuple((b":scheme", b"ftp") if name == b":scheme" else (name, value) for name, value in BROWSE_2)
        await client.request(5, refused)
        await client.wait_end(5)
        status, body = client.answer(5)
        assert (status, dict(client.read.fields[5][0])[b"content-type"]) == (400, b"text/html; charset=utf-8")
        assert b"<h1>This did not work</h1>" in body
        await client.request(7, refused[:-1])
        await client.wait_end(7)
        assert client.answer(7) == (400, b"")


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET / HTTP/1.1\r\n" + HTML + b"\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + HTML + b"X: " + b"x" * 3000, 431),
        (b"BREW / HTTP/1.1\r\nHost: x\r\n" + HTML + b"\r\n", 501),
        (b"GET / HTTP/3.0\r\nHost: x\r\n" + HTML + b"\r\n", 505),
        (b"TRACE / HTTP/1.1\r\nHost: x\r\n" + HTML + b"\r\n", 405),
        (b"GET /%00 HTTP/1.1\r\nHost: x\r\n" + HTML + b"\r\n", 400),
    ],
)
async def test_what_is_refused_before_it_is_a_request_has_a_page_too(raw, status):
    """Where its `Accept` has come: a visitor whose cookies are too many is to learn what helps."""
    async with open_stage(limits={"header_bytes": "2KiB"}) as stage:
        client = await stage.connect()
        await client.send(raw)
        head, body = await client.read_response()
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert b"\r\nContent-Type: text/html; charset=utf-8\r\n" in head
        assert b"<b>%d " % status in body
        client = await stage.connect()
        await client.send(raw.replace(HTML, b"X-Accept: text/html\r\n"))
        assert (await client.read_response())[1].startswith(b"%d " % status)


async def test_a_head_that_comes_too_slowly_has_one():
    """408, as far as it has come."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(b"GET / HTTP/1.1\r\n" + HTML + b"Host: exa")
        await stage.settle()
        await stage.let_pass(11.0)
        head, body = await client.read_response()
        assert head.startswith(b"HTTP/1.1 408 ")
        assert b"<h1>That took too long</h1>" in body


async def test_a_refused_head_has_an_answer_without_a_body():
    """Its length is told all the same (RFC 9110 9.3.2)."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(b"HEAD / HTTP/1.1\r\n" + HTML + b"\r\n")
        head = await client.read_to_end()
        assert head.endswith(b"\r\n\r\n")
        assert b"\r\nContent-Type: text/html; charset=utf-8\r\n" in head
        (record,) = await stage.wait_records()
        assert record["response_bytes"] == 0


async def test_plain_http_on_a_port_for_https_is_told_to_people_too(tmp_path):
    """Whoever leaves the scheme out reads what to write."""
    context = open_context(TlsTable(self_signed=("localhost",)), http2=True, authority_dir=tmp_path, where="tls")
    assert isinstance(context, ssl.SSLContext)
    assert development_authority(tmp_path / AUTHORITY)
    async with open_stage(context=context) as stage:
        client = await stage.connect()
        await client.send(BROWSE)
        head, body = await client.read_response()
        assert head.startswith(b"HTTP/1.1 400 ")
        assert b"https://" in body
        assert b"<h1>" in body
        client = await stage.connect()
        await client.send(GET)
        assert (await client.read_response())[1].startswith(b"400 Bad Request: this port speaks HTTPS")


def send_little(stage: Stage) -> None:
    """Have the kernel take little that a client does not read."""
    stage.listener.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)


LARGE = b"<p>" + b"large " * 170_000
"""Nearly a MiB."""


async def test_a_large_page_waits_for_its_client():
    """No more of it is kept for it than of a backend's answer, and what it was claimed for is free meanwhile."""
    assert PIECE_BYTES < len(LARGE) < MAX_PAGE_BYTES
    async with open_stage(routes=ROUTES) as stage:
        set_pages(stage, {502: LARGE})
        send_little(stage)
        client = await stage.connect(receive_buffer=4096)
        await client.send(BROWSE)
        line = await stage.backend.accept()
        await line.read_head()
        await line.send(b"nonsense\r\n\r\n")
        head = await client.read_head()
        assert head.startswith(b"HTTP/1.1 502 ")
        await stage.wait_in_flight(0)
        await stage.settle()
        (connection,) = stage.plane.listeners["public"].connections
        kept = connection.stream.unsent  # type: ignore[attr-defined]
        assert 0 < kept <= HIGH_WATER + PIECE_BYTES + 1024
        assert stage.records() == []
        assert await client.read_exactly(len(LARGE)) == LARGE
        (record,) = await stage.wait_records()
        assert (record["status"], record["response_bytes"], record["side"]) == (502, len(LARGE), "upstream")
        await client.send(BROWSE.replace(b"GET", b"HEAD"))
        line = await stage.backend.accept()
        await line.read_head()
        await line.send(b"nonsense\r\n\r\n")
        assert b"\r\nContent-Length: %d\r\n" % len(LARGE) in await client.read_head()


async def test_a_client_that_leaves_within_a_large_page_is_recorded_so():
    """And nothing of it is left."""
    async with open_stage(backends=0, routes=ROUTES) as stage:
        set_pages(stage, {503: LARGE})
        send_little(stage)
        client = await stage.connect(receive_buffer=4096)
        await client.send(BROWSE)
        await client.read_head()
        client.reset()
        (record,) = await stage.wait_records()
        assert record["status"] == 503
        assert record["error"] == "the client went away"
        await stage.wait_connections(0)


async def test_large_pages_over_http_2_keep_to_the_windows_of_their_streams():
    """A client that opens none keeps a piece for each stream, however many it has."""
    async with open_stage(backends=0, routes=ROUTES) as stage:
        set_pages(stage, {503: LARGE})
        client = await connect_http2(stage, opens=False)
        streams = range(1, 41, 2)
        for stream_id in streams:
            await client.request(stream_id, BROWSE_2)
        await client.wait(lambda: all(client.read.fields.get(stream_id) for stream_id in streams))
        await stage.settle()
        (connection,) = stage.plane.listeners["public"].connections
        assert connection.backlog.kept_bytes <= len(streams) * PIECE_BYTES  # type: ignore[attr-defined]
        other = await connect_http2(stage)
        await other.request(1, BROWSE_2)
        await other.wait_end(1)
        assert other.answer(1) == (503, LARGE)
        client.line.close()
        assert len(await stage.wait_records(len(streams) + 1)) == len(streams) + 1


async def test_who_has_not_sent_all_gets_the_small_page():
    """A large one would have to be kept for a client that perhaps never reads."""
    async with open_stage(routes=ROUTES, limits={"body_bytes": "10B"}) as stage:
        set_pages(stage, {413: LARGE})
        client = await stage.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: example.org\r\nContent-Length: 50\r\n" + HTML + b"\r\n")
        assert b"<h1>That is too large</h1>" in (await client.read_response())[1]


# A pause with an answer.

SOON = b"<title>soon</title>"


async def test_a_pause_with_an_answer_answers_at_once():
    """A page for browsers, text for all others, with Retry-After; what is in flight goes on, and a resume ends it."""
    async with open_stage(routes=ROUTES) as stage:
        early = await stage.connect()
        await early.send(GET)
        line = await stage.backend.accept()
        await line.read_head()
        stage.pool.pause(PauseAnswer(page=SOON))
        client = await stage.connect()
        await client.send(BROWSE)
        head, body = await client.read_response()
        assert (head.split(b" ")[1], body) == (b"503", SOON)
        assert re.search(rb"\r\nRetry-After: \d+\r\n", head)
        await client.send(GET)
        head, body = await client.read_response()
        assert re.search(rb"\r\nRetry-After: \d+\r\n", head)
        assert body == b"503 Service Unavailable\n"
        assert {(record["error"], record["side"], record["slot"]) for record in await stage.wait_records(2)} == {
            ("the pool is paused", "upstream", None)
        }
        await line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert (await early.read_response())[1] == b"ok"
        stage.pool.resume()
        await client.send(BROWSE)
        await line.read_head()
        await line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert (await client.read_response())[1] == b"ok"


async def test_what_was_held_is_answered_when_the_pause_gets_an_answer():
    """And changes with it; without one they are held again."""
    async with open_stage(routes=ROUTES) as stage:
        set_pages(stage, {410: OWN})
        stage.pool.pause()
        clients = []
        for _ in range(3):
            client = await stage.connect()
            await client.send(BROWSE)
            clients.append(client)
        await stage.wait_held(3)
        stage.pool.pause(PauseAnswer(status=410))
        for client in clients:
            head, body = await client.read_response()
            assert (head.split(b" ")[1], body) == (b"410", OWN)
        await stage.wait_held(0)
        stage.pool.pause(PauseAnswer(status=418))
        await clients[0].send(BROWSE)
        assert b"<b>418 I'm a teapot</b>" in (await clients[0].read_response())[1]
        stage.pool.pause()
        await clients[0].send(GET)
        await stage.wait_held(1)
        stage.pool.resume()
        await stage.backend.serve_one()
        assert (await clients[0].read_response())[1] == b"ok"
        await stage.let_pass(60.0)
        assert stage.log.defects == []


async def test_so_many_are_answered_at_once_and_the_others_a_moment_later():
    """As they are let in: a thousand answers are no work for one turn."""
    async with open_stage(routes=ROUTES) as stage:
        stage.pool.pause()
        clients = []
        for _ in range(STEP + 6):
            client = await stage.connect()
            await client.send(GET)
            clients.append(client)
        await stage.wait_held(STEP + 6)
        stage.pool.pause(PauseAnswer(status=429))
        gate = stage.plane.gates["web"]
        gate.let_in()
        assert len(gate.held) == 6
        for client in clients:
            assert (await client.read_response())[0].startswith(b"HTTP/1.1 429 ")


async def test_a_retry_in_a_paused_pool_is_answered():
    """Nothing else of it can be claimed."""
    async with open_stage(routes=ROUTES) as stage:
        client = await stage.connect()
        await client.send(BROWSE)
        line = await stage.backend.accept()
        await line.read_head()
        stage.pool.pause(PauseAnswer(page=SOON))
        line.reset()
        await stage.let_pass(5.0)
        head, body = await client.read_response()
        assert (head.split(b" ")[1], body) == (b"503", SOON)
        await stage.wait_in_flight(0)


async def test_a_large_page_of_a_pause_reaches_those_who_were_held():
    """Each at its own pace, with nothing left behind."""
    async with open_stage(routes=ROUTES) as stage:
        stage.pool.pause()
        clients = [await stage.connect() for _ in range(5)]
        for client in clients:
            await client.send(BROWSE)
        await stage.wait_held(5)
        stage.pool.pause(PauseAnswer(page=LARGE))
        async with trio.open_nursery() as nursery:
            for client in clients:
                nursery.start_soon(client.read_response)
        await stage.let_pass(60.0)
        assert [record["status"] for record in await stage.wait_records(5)] == [503] * 5
