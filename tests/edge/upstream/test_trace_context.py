"""OpenTelemetry: what a client says of its trace reaches the backend as it is (W3C Trace Context)."""

from __future__ import annotations

import h2.events
import pytest

from tests.edge.upstream.test_h2c import open_stage as open_h2c_stage
from tests.edge.upstream.test_h2c import read_status
from tests.support.http2_client import connect_http2
from tests.support.http2_frames import GET
from tests.support.stage import OK, open_stage

pytestmark = pytest.mark.fail_after(10)

CONTEXT = (
    (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    (b"tracestate", b"rojo=00f067aa0ba902b7"),
    # A list that came in two fields stays in its order.
    (b"tracestate", b"congo=t61rcWkgMzE"),
    (b"baggage", b"user=alice,shop=%C3%A9t%C3%A9"),
)


def lines() -> bytes:
    """The fields as HTTP/1.1 has them."""
    return b"".join(b"%b: %b\r\n" % field for field in CONTEXT)


@pytest.mark.parametrize("traced", [True, False])
async def test_from_http_1_to_http_1(traced: bool):
    """In the order in which they came; where there is no trace, none is made up."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: example.org\r\n" + (lines() if traced else b"") + b"\r\n")
        line = await stage.backend.accept()
        head = await line.read_head()
        assert (lines() in head) is traced
        assert head.lower().count(b"\r\ntrace") == 3 * traced
        await line.send(OK)
        await client.read_response()


async def test_from_http_2_to_http_1():
    """The same from a client of HTTP/2."""
    async with open_stage() as stage:
        client = await connect_http2(stage)
        await client.request(1, (*GET, *CONTEXT))
        line = await stage.backend.accept()
        assert lines() in await line.read_head()
        await line.send(OK)
        await client.wait_end(1)


async def test_to_a_backend_of_http_2():
    """The same to a backend of HTTP/2."""
    async with open_h2c_stage() as (_, client, ends):
        await client.send_all(b"GET / HTTP/1.1\r\nHost: example.org\r\n" + lines() + b"\r\n")
        backend = await ends.accept()
        event = await backend.wait(h2.events.RequestReceived)
        assert isinstance(event, h2.events.RequestReceived)
        assert event.stream_id is not None
        assert event.headers is not None
        assert tuple(field for field in event.headers if field[0] in dict(CONTEXT)) == CONTEXT
        await backend.answer(event.stream_id)
        assert await read_status(client) == b"HTTP/1.1 200 OK"
