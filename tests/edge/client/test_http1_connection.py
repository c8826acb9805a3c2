"""HTTP/1.x between a client and a backend that a test drives by hand."""

from __future__ import annotations

import pytest
import trio

from hotswap.edge.upstream.upstream import REST
from tests.support.stage import GET, OK, open_stage

pytestmark = pytest.mark.fail_after(10)

POST = b"POST /up HTTP/1.1\r\nHost: example.org\r\nContent-Length: 5\r\n\r\n"
CHUNKED = b"POST /up HTTP/1.1\r\nHost: example.org\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_both_sides_keep_their_connections():
    """Two requests of one client arrive over one connection of ours."""
    async with open_stage() as stage:
        client, line = await stage.exchange()
        await client.send(GET)
        await line.read_head()
        await line.send(OK)
        head, body = await client.read_response()
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert body == b"ok"
        assert b"Connection" not in head
        assert stage.link.connections_to(stage.backend.member) == 1


async def test_a_counted_body_passes_as_it_comes():
    """Each piece is passed on when it is there, not when the body is whole."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(POST)
        line = await stage.backend.accept()
        assert b"\r\nContent-Length: 5\r\n" in await line.read_head()
        await client.send(b"ab")
        assert await line.read_exactly(2) == b"ab"
        await client.send(b"cde")
        assert await line.read_exactly(3) == b"cde"
        await line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nxy")
        await client.read_head()
        assert await client.read_exactly(2) == b"xy"
        await line.send(b"zz")
        assert await client.read_exactly(2) == b"zz"


async def test_a_chunked_body_is_chunked_anew():
    """Extensions and the client's own sizes are gone, the pieces are not held back."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(CHUNKED)
        line = await stage.backend.accept()
        assert b"\r\nTransfer-Encoding: chunked\r\n" in await line.read_head()
        await client.send(b"3;x=y\r\nabc\r\n")
        assert await line.read_exactly(8) == b"3\r\nabc\r\n"
        await client.send(b"0\r\nTrailer: x\r\n\r\n")
        assert await line.read_exactly(5) == b"0\r\n\r\n"
        await line.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
        assert b"\r\nTransfer-Encoding: chunked\r\n" in await client.read_head()
        assert await client.read_exactly(7) == b"2\r\nhi\r\n"
        await line.send(b"0\r\n\r\n")
        assert await client.read_exactly(5) == b"0\r\n\r\n"
        await client.send(GET)
        assert await line.read_head()


@pytest.mark.parametrize("length", [b"Content-Length: 1000", b"Transfer-Encoding: chunked", b"X-None: 1"])
async def test_the_answer_to_head_has_no_body_whatever_it_says(length):
    """The connection to the backend goes on with the next request, when nothing came behind it for a while."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(b"HEAD / HTTP/1.1\r\nHost: example.org\r\n\r\n")
        line = await stage.backend.accept()
        await line.read_head()
        await line.send(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n\r\n")
        assert length in await client.read_head()
        await stage.let_pass(REST)
        await client.send(GET)
        await line.read_head()
        await line.send(OK)
        assert (await client.read_response())[1] == b"ok"


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_statuses_without_body_have_none(status):
    """And no framing that says otherwise, for 204."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(GET + GET)
        await stage.backend.serve_one(b"HTTP/1.1 " + status + b"\r\nETag: x\r\n\r\n")
        head = await client.read_head()
        assert b"Transfer-Encoding" not in head
        assert b"Content-Length" not in head
        line = await stage.backend.accept()  # the first one rests
        await line.read_head()
        await line.send(OK)
        assert (await client.read_response())[1] == b"ok"


async def test_early_hints_are_relayed_and_an_unasked_100_is_not():
    """103 before the final response; 100 only for those who expect it."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(GET)
        line = await stage.backend.accept()
        await line.read_head()
        await line.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        assert await client.read_head() == b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        await line.send(OK)
        assert (await client.read_response())[1] == b"ok"


async def test_http_1_0_gets_no_interim_response():
    """It would take it for the answer (RFC 9110 15.2)."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        await stage.backend.serve_one(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK)
        assert (await client.read_to_end()).startswith(b"HTTP/1.1 200 OK")


async def test_continue_comes_from_the_backend():
    """The body is sent after it, and the wait for the body is the client's, not the backend's."""
    async with open_stage(pool={"response_timeout": "60s"}, limits={"body_rate": "0B"}) as stage:
        client = await stage.connect()
        await client.send(POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        line = await stage.backend.accept()
        assert b"\r\nExpect: 100-continue\r\n" in await line.read_head()
        await line.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await client.read_head() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"ab")
        await stage.let_pass(50)
        await client.send(b"cd")
        await stage.let_pass(50)
        await client.send(b"e")
        assert await line.read_exactly(5) == b"abcde"
        await line.send(OK)
        assert (await client.read_response())[0].startswith(b"HTTP/1.1 200")


async def test_an_expectation_is_refused_before_the_body():
    """The final answer comes instead of 100, and the connection ends, since the body may come or not."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        await stage.backend.serve_one(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
        answer = await client.read_to_end()
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert b"\r\nConnection: close\r\n" in answer


async def test_pipelined_requests_are_answered_in_order():
    """One at a time; the backend sees the second when the first is answered."""
    async with open_stage() as stage:
        client = await stage.connect()
        first, second, third = (GET.replace(b"/ ", b"/%d " % number) for number in (1, 2, 3))
        await client.send(first + POST + b"hello" + second + third[:20])
        line = await stage.backend.accept()
        assert (await line.read_head()).startswith(b"GET /1 ")
        await stage.settle()
        assert line.unread == b""
        await line.send(OK.replace(b"ok", b"aa"))
        assert (await line.read_head()).startswith(b"POST /up ")
        assert await line.read_exactly(5) == b"hello"
        await line.send(OK.replace(b"ok", b"bb"))
        assert (await line.read_head()).startswith(b"GET /2 ")
        await line.send(OK.replace(b"ok", b"cc"))
        assert [(await client.read_response())[1] for _ in range(3)] == [b"aa", b"bb", b"cc"]
        await client.send(third[20:])
        assert (await line.read_head()).startswith(b"GET /3 ")


async def test_connection_close_of_the_client_ends_it_after_the_answer():
    """What it sends behind is not served."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + GET)
        await stage.backend.serve_one()
        answer = await client.read_to_end()
        assert answer.endswith(b"\r\n\r\nok")
        assert b"\r\nConnection: close\r\n" in answer
        assert len(await stage.wait_records()) == 1


async def test_connection_close_of_the_backend_does_not_bind_the_client():
    """The client's connection goes on over a new connection of ours."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(GET)
        await stage.backend.serve_one(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        head, _ = await client.read_response()
        assert b"Connection" not in head
        await client.send(GET)
        await stage.backend.serve_one()
        await client.read_response()


async def test_http_1_0_is_answered_and_closed():
    """No chunked framing for those who do not know it: the end of the connection ends the body."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(b"GET / HTTP/1.0\r\nHost: example.org\r\n\r\n")
        await stage.backend.serve_one(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
        answer = await client.read_to_end()
        assert answer.endswith(b"\r\n\r\nhi")
        assert b"Transfer-Encoding" not in answer


async def test_http_1_0_may_ask_to_keep_the_connection():
    """It is told so, as long as the length is known."""
    async with open_stage() as stage:
        client = await stage.connect()
        request = b"GET / HTTP/1.0\r\nHost: example.org\r\nConnection: keep-alive\r\n\r\n"
        await client.send(request)
        line = await stage.backend.serve_one()
        head, _ = await client.read_response()
        assert b"\r\nConnection: keep-alive\r\n" in head
        await client.send(request)
        await line.read_head()
        await line.send(OK)
        await client.read_response()


async def test_a_response_until_the_end_of_the_connection_becomes_chunked():
    """So the client can see that it is whole, and go on."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(GET)
        line = await stage.backend.serve_one(b"HTTP/1.1 200 OK\r\n\r\nsome")
        line.close()
        assert b"\r\nTransfer-Encoding: chunked\r\n" in await client.read_head()
        assert await client.read_until(b"0\r\n\r\n") == b"4\r\nsome\r\n0\r\n\r\n"
        await client.send(GET)
        await stage.backend.serve_one()
        await client.read_response()


async def test_hop_by_hop_fields_stay_on_their_hop():
    """Those of the standard, and those that Connection names, both ways (P1, P7)."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(
            b"GET / HTTP/1.1\r\nHost: example.org\r\nConnection: keep-alive, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: 5\r\n"
            b"TE: trailers, gzip\r\nProxy-Authorization: x\r\nX-Other: 2\r\n\r\n"
        )
        line = await stage.backend.accept()
        head = await line.read_head()
        assert b"\r\nX-Other: 2\r\n" in head
        assert b"\r\nConnection: TE\r\nTE: trailers\r\n" in head  # both or neither (RFC 9110 10.1.4)
        assert head.count(b"Connection") == 1
        for name in (b"X-Mine", b"Keep-Alive", b"Proxy-Authorization"):
            assert name not in head
        await line.send(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: X-Yours\r\nX-Yours: 1\r\nKeep-Alive: timeout=5\r\n"
            b"Upgrade: h2\r\nX-Kept: 1\r\n\r\nok"
        )
        head, _ = await client.read_response()
        assert b"\r\nX-Kept: 1\r\n" in head
        for name in (b"X-Yours", b"Keep-Alive", b"Upgrade", b"Connection"):
            assert name not in head


async def test_a_request_before_a_websocket_handshake_is_served_first():
    """What follows a handshake is not read as HTTP, even when something precedes it (found by reading)."""
    handshake = (
        b"GET /ws HTTP/1.1\r\nHost: example.org\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nTE: trailers\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(GET + handshake + b"\x81\x85frames")
        line = await stage.backend.serve_one()
        assert (await client.read_response())[1] == b"ok"
        assert b"\r\nConnection: TE, Upgrade\r\nUpgrade: websocket\r\nTE: trailers\r\n" in await line.read_head()
        await line.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert b" 101 " in await client.read_head()
        assert await line.read_exactly(8) == b"\x81\x85frames"


@pytest.mark.parametrize("refusal", [b"403 Forbidden", b"200 OK"])
async def test_a_refused_upgrade_stays_http(refusal):
    """What the client sent behind its handshake is read as requests again."""
    handshake = (
        b"GET /ws HTTP/1.1\r\nHost: example.org\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(handshake + GET)
        line = await stage.backend.serve_one(b"HTTP/1.1 " + refusal + b"\r\nContent-Length: 2\r\n\r\nno")
        assert (await client.read_response())[1] == b"no"
        assert b"Upgrade" not in await line.read_head()
        await line.send(OK)
        assert (await client.read_response())[1] == b"ok"


async def test_an_upgrade_to_something_else_is_an_ordinary_request():
    """HTTP/2 in the clear is not smuggled past us (D15)."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(
            b"GET / HTTP/1.1\r\nHost: example.org\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
            b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
        )
        line = await stage.backend.accept()
        head = await line.read_head()
        assert b"Upgrade" not in head
        assert b"HTTP2" not in head
        await line.send(OK)
        await client.read_response()


@pytest.mark.parametrize(
    ("field", "body"),
    [(b"Content-Length: 5", b"hello"), (b"Transfer-Encoding: chunked", b"5\r\nhello\r\n0\r\n\r\n")],
)
async def test_an_upgrade_to_something_else_may_have_a_body(field: bytes, body: bytes):
    """As curl --http2 sends it (D15); what follows is the next request."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(
            b"POST / HTTP/1.1\r\nHost: example.org\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
            b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n" + field + b"\r\n\r\n" + body + GET
        )
        line = await stage.backend.accept()
        assert b"Upgrade" not in await line.read_head()
        assert await line.read_until(body)
        await line.send(OK)
        await client.read_response()
        assert await line.read_head()
        await line.send(OK)
        await client.read_response()


async def test_a_request_before_the_preface_of_http_2_is_served():
    """However the bytes are cut: the request first, then 505, and the end (F19, L9)."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(GET + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        await stage.backend.serve_one(OK)
        assert (await client.read_response())[1] == b"ok"
        assert b" 505 " in await client.wait_broken()


async def test_a_head_that_began_behind_a_request_has_its_time_too():
    """It came in the same read as the request before it (R3)."""
    async with open_stage(limits={"header_timeout": "5s"}) as stage:
        client = await stage.connect()
        await client.send(GET + b"GET /next HTTP/1.1\r\n")
        await stage.backend.serve_one(OK)
        await client.read_response()
        await stage.let_pass(6)
        assert b" 408 " in await client.wait_broken()


async def test_what_was_refused_is_told_in_the_access_log():
    """Method, target and version as far as they came, and the size of the answer."""
    async with open_stage() as stage:
        for raw in (
            b"GET /a?b=1 HTTP/1.1\r\n\r\n",
            b"BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n",
            b"\x16\x03\x01 \x00 \r\n\r\n",
        ):
            client = await stage.connect()
            await client.send(raw)
            await client.wait_broken()
        told = [(line["method"], line["target"], line["status"]) for line in await stage.wait_records(3)]
        assert told == [("GET", "/a?b=1", 400), ("BREW", "/pot", 501), ("", "", 400)]
        assert all(line["response_bytes"] > 0 for line in stage.records())


async def test_a_switch_that_nobody_asked_for_is_502():
    """101 to an ordinary request."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(GET)
        for _ in range(3):
            with trio.move_on_after(0.3):
                await stage.backend.serve_one(
                    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
                )
        assert (await client.read_head()).startswith(b"HTTP/1.1 502 ")


async def test_the_connection_ends_after_so_many_requests():
    """The last answer says so; nothing is lost."""
    async with open_stage(limits={"requests_per_connection": 2}) as stage:
        client, line = await stage.exchange()
        await client.send(GET)
        await line.read_head()
        await line.send(OK)
        assert (await client.read_to_end()).endswith(b"\r\nConnection: close\r\n\r\nok")


async def test_a_client_that_leaves_is_left_within_a_second():
    """The backend's connection is closed, and the record says 499 (R12)."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(GET)
        line = await stage.backend.accept()
        await line.read_head()
        client.close()
        with trio.fail_after(1):
            assert await line.read_to_end() == b""
        (record,) = await stage.wait_records()
        assert (record["status"], record["side"]) == (499, "downstream")
        assert stage.backend.in_flight == 0


async def test_a_client_that_leaves_while_it_sends_is_left():
    """A body that will never be whole is not waited for."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(POST + b"ab")
        line = await stage.backend.accept()
        await line.read_head()
        client.close()
        with trio.fail_after(1):
            assert await line.read_to_end() == b"ab"
        assert (await stage.wait_records())[0]["status"] == 499


async def test_an_early_answer_is_given_and_the_rest_of_the_body_dropped():
    """The client can read it although it still sends (F18)."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(POST.replace(b": 5", b": 50000") + b"x" * 1000)
        line = await stage.backend.serve_one(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
        head, body = await client.read_response()
        assert body == b"big"
        assert b"\r\nConnection: close\r\n" in head
        await client.send(b"x" * 40000)
        await client.end_writes()
        assert await client.read_to_end() == b""
        assert await line.wait_broken() is not None


async def test_a_client_that_is_silent_while_its_answer_flows_is_not_cut():
    """An answer that begins before its request is whole: progress of either counts; a silence of both is too long."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: example.org\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        line = await stage.backend.accept()
        await line.read_until(b"hello\r\n")
        await line.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await client.read_head()
        for _ in range(5):
            await line.send(b"1\r\nx\r\n")
            assert await client.read_exactly(6) == b"1\r\nx\r\n"
            await stage.let_pass(60.0)
        await stage.let_pass(76.0)
        await stage.let_pass(76.0)
        (record,) = await stage.wait_records()
        assert (record["status"], record["error"]) == (200, "the body came too slowly")
