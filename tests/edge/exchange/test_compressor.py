"""Compressed responses, between a client and a backend that a test drives by hand, and as strangers read them."""

from __future__ import annotations

import gzip
import random
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from hotswap.core.address import TcpAddress
from hotswap.core.config import RouteTable
from hotswap.core.http.compression import JITTER
from hotswap.edge.exchange.compressed_responder import Encoder
from hotswap.edge.exchange.compressor import Compressor
from hotswap.edge.loop.stream import Data
from hotswap.edge.upstream.upstream_connection import PARSED_BYTES
from tests.support.browser import open_browser
from tests.support.http2_client import connect_http2
from tests.support.http2_frames import GET as GET2
from tests.support.plane import open_plane
from tests.support.stage import Line, Stage, open_stage
from tests.support.tools import require_tool

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdDecompressor
else:
    from backports.zstd import ZstdDecompressor

pytestmark = pytest.mark.fail_after(10)

PAGE = b"<!doctype html>" + b"".join(b"<p>line %d of this page</p>\n" % number for number in range(3000))
HTML = b"Content-Type: text/html; charset=utf-8\r\n"
EACH = pytest.mark.parametrize("coding", ["gzip", "zstd"])


def get(coding: str, *, method: str = "GET", version: str = "1.1") -> bytes:
    """A request that takes a coding."""
    return f"{method} / HTTP/{version}\r\nHost: example.org\r\nAccept-Encoding: {coding}\r\n\r\n".encode()


def answer(body: bytes, fields: bytes = HTML) -> bytes:
    """A response with a length, as a whole."""
    return b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (fields, len(body), body)


class Decoder:
    """Decodes what comes, as it comes."""

    def __init__(self, coding: str) -> None:
        self.eof = False
        self._zstd = ZstdDecompressor()
        self._gzip = zlib.decompressobj(31)
        self._coding = coding

    def feed(self, data: bytes) -> bytes:
        """What the next bytes mean."""
        decoder = self._zstd if self._coding == "zstd" else self._gzip
        plain = decoder.decompress(data)
        self.eof = decoder.eof
        return plain


def decode(coding: str, data: bytes) -> bytes:
    """A whole body."""
    decoder = Decoder(coding)
    plain = decoder.feed(data)
    assert decoder.eof
    return plain


async def read_chunk(client: Line) -> bytes:
    """The next chunk of a body; empty at its end."""
    size = int(await client.read_until(b"\r\n"), 16)
    return (await client.read_exactly(size + 2))[:-2]


async def ask(stage: Stage, request: bytes, response: bytes, line: Line | None = None) -> tuple[Line, bytes, bytes]:
    """The backend's end, a new one if none is there, and the head and body of a response with a length."""
    client = await stage.connect()
    await client.send(request)
    line = line or await stage.backend.accept()
    await line.read_head()
    await line.send(response)
    return line, *await client.read_response()


@EACH
async def test_a_whole_page_is_compressed_and_keeps_a_length(coding: str):
    """The head says so, the access log has what the client got, and the connection is good for the next."""
    async with open_stage() as stage:
        response = answer(PAGE[:60000], HTML + b'ETag: "a"\r\nAccept-Ranges: bytes\r\nVary: Cookie\r\n')
        _, head, body = await ask(stage, get(coding), response)
        assert decode(coding, body) == PAGE[:60000]
        assert len(body) < 20000
        assert b"\r\nContent-Encoding: %b\r\n" % coding.encode() in head
        assert b"\r\nVary: Cookie, Accept-Encoding\r\n" in head
        assert b'\r\nETag: W/"a"\r\n' in head
        assert b"Accept-Ranges" not in head
        assert b"Connection" not in head
        (record,) = await stage.wait_records()
        assert record["response_bytes"] == len(body)
        assert stage.plane.compressor.encoders == 0


@EACH
async def test_a_streamed_page_stays_streamed(coding: str):
    """Each piece of the backend can be decoded when it is there, whether the page has a length or not."""
    async with open_stage() as stage:
        for framing in (b"Content-Length: %d\r\n" % len(PAGE), b"Transfer-Encoding: chunked\r\n"):
            client = await stage.connect()
            await client.send(get(coding))
            line = await stage.backend.accept()
            await line.read_head()
            await line.send(b"HTTP/1.1 200 OK\r\n%b%b\r\n" % (HTML, framing))
            head = await client.read_head()
            assert b"\r\nTransfer-Encoding: chunked\r\n" in head
            assert b"Content-Length" not in head
            decoder, got, sent, written = Decoder(coding), b"", 0, 0
            for size in (10, 1, 5000, len(PAGE) - 5011):
                piece = PAGE[sent : sent + size]
                sent += size
                await line.send(b"%x\r\n%b\r\n" % (size, piece) if b"chunked" in framing else piece)
                while len(got) < sent:
                    chunk = await read_chunk(client)
                    written += len(chunk)
                    got += decoder.feed(chunk)
                assert got == PAGE[:sent]
            if b"chunked" in framing:
                await line.send(b"0\r\n\r\n")
            while chunk := await read_chunk(client):
                written += len(chunk)
                assert decoder.feed(chunk) == b""
            assert decoder.eof
            record = (await stage.wait_records(1 if b"Length" in framing else 2))[-1]
            assert record["response_bytes"] == written
            assert stage.plane.compressor.encoders == 0
            line.close()
            client.close()


async def test_an_app_that_does_not_tell_the_length_is_answered_in_one_piece():
    """Head, the only piece and the end come together, and leave so."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(get("gzip"))
        await stage.backend.serve_one(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/css\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
        )
        assert b"\r\nContent-Encoding: gzip\r\n" in await client.read_head()
        body = await read_chunk(client)
        body += await read_chunk(client)
        assert decode("gzip", body) == b"{}"


async def test_head_is_told_what_get_is_told():
    """All fields but those of the framing; no body, and nothing is kept for one."""
    async with open_stage() as stage:
        line, of_get, _ = await ask(stage, get("zstd"), answer(PAGE[:5000]))
        client = await stage.connect()
        await client.send(get("zstd", method="HEAD"))
        await line.read_head()
        await line.send(answer(b"", HTML).replace(b"Length: 0", b"Length: 5000"))
        of_head = await client.read_head()
        framing = (b"Content-Length: ", b"Transfer-Encoding: ", b"Date: ")
        get_lines, head_lines = (
            [line for line in head.split(b"\r\n") if not line.startswith(framing)] for head in (of_get, of_head)
        )
        assert head_lines == get_lines
        await client.send(get("zstd"))
        await stage.backend.serve_one(answer(PAGE[:5000]))
        assert (await client.read_response())[0].startswith(b"HTTP/1.1 200 OK\r\n")


PLAIN = {
    "no Accept-Encoding": (b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n", HTML, True),
    "HTTP/1.0": (get("gzip", version="1.0"), HTML, True),
    "brotli alone": (get("br"), HTML, True),
    "refused": (get("gzip;q=0, zstd;q=0"), HTML, True),
    "an image": (get("gzip"), b"Content-Type: image/png\r\n", False),
    "no type": (get("gzip"), b"X-A: b\r\n", False),
    "compressed by the app": (get("gzip"), HTML + b"Content-Encoding: br\r\n", False),
    "no-transform": (get("gzip"), HTML + b"Cache-Control: no-transform\r\n", False),
    "events": (get("gzip"), b"Content-Type: text/event-stream\r\n", False),
}


@pytest.mark.parametrize("case", PLAIN)
async def test_others_get_bodies_as_they_are(case: str):
    """Byte by byte; caches are told where somebody else would get another."""
    request, fields, varies = PLAIN[case]
    async with open_stage() as stage:
        _, head, body = await ask(stage, request, answer(PAGE[:5000], fields + b'ETag: "a"\r\n'))
        assert body == PAGE[:5000]
        assert (b"\r\nVary: Accept-Encoding\r\n" in head) == varies
        assert b'\r\nETag: "a"\r\n' in head
        assert (b"Content-Encoding" in head) == (b"Content-Encoding" in fields)


@pytest.mark.parametrize(
    ("listener", "route", "length"),
    [({"compress": False}, {}, 5000), ({}, {"compress": False}, 5000), ({}, {"compress": True, "log": False}, 1023)],
)
async def test_a_listener_or_a_route_may_switch_it_off_and_short_answers_are_left_alone(
    listener: dict[str, Any], route: dict[str, Any], length: int
):
    """Then nothing is changed at all."""
    async with open_stage(routes=[RouteTable.model_validate({"pool": "web", **route})], **listener) as stage:
        _, head, body = await ask(stage, get("gzip"), answer(PAGE[:length]))
        assert body == PAGE[:length]
        assert b"Vary" not in head


@EACH
async def test_a_backend_that_breaks_off_is_seen_by_the_client(coding: str):
    """What came is there; neither the body nor its coding ends, and the encoder is gone."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(get(coding))
        line = await stage.backend.accept()
        await line.read_head()
        await line.send(b"HTTP/1.1 200 OK\r\n%bContent-Length: 9999\r\n\r\nhello" % HTML)
        await client.read_head()
        decoder = Decoder(coding)
        assert decoder.feed(await read_chunk(client)) == b"hello"
        assert stage.plane.compressor.encoders == 1
        line.close()
        assert await client.wait_broken() == b""
        assert not decoder.eof
        assert (await stage.wait_records())[0]["error"]
        assert stage.plane.compressor.encoders == 0


async def test_a_client_that_leaves_takes_its_encoder_along():
    """Nothing is left of it, though nobody ended the body."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(get("zstd"))
        line = await stage.backend.accept()
        await line.read_head()
        await line.send(b"HTTP/1.1 200 OK\r\n%bContent-Length: 9999\r\n\r\nhello" % HTML)
        await client.read_head()
        client.close()
        (record,) = await stage.wait_records()
        assert record["status"] == 200
        assert record["error"]
        assert stage.plane.compressor.encoders == 0


async def test_above_the_limit_of_encoders_bodies_go_as_they_are():
    """Memory is bounded; whole bodies, which keep nothing, are compressed all the same."""
    async with open_stage() as stage:
        stage.plane.compressor = Compressor(most=0)
        client = await stage.connect()
        await client.send(get("zstd"))
        line = await stage.backend.accept()
        await line.read_head()
        await line.send(answer(PAGE)[:1000])
        await client.read_head()
        await line.send(answer(PAGE)[1000:])
        assert (await client.read_exactly(len(PAGE))) == PAGE
        _, head, _ = await ask(stage, get("zstd"), answer(PAGE[:5000]), line)
        assert b"\r\nContent-Encoding: zstd\r\n" in head


class SizedEncoder:
    """An encoder that notes the pieces it is given."""

    def __init__(self, encoder: Encoder, sizes: list[int]) -> None:
        self._encoder = encoder
        self._sizes = sizes
        self.flush = encoder.flush
        self.end = encoder.end

    def encode(self, data: Data) -> bytes:
        """Note its size."""
        self._sizes.append(len(data))
        return self._encoder.encode(data)


class Watched(Compressor):
    """Makes encoders that note what they are given."""

    __slots__ = ("sizes",)

    def make_encoder(self, coding: bytes, padding: int) -> Encoder:
        """Look on."""
        self.sizes: list[int] = []
        return SizedEncoder(super().make_encoder(coding, padding), self.sizes)


@EACH
async def test_a_large_body_is_work_in_small_pieces(coding: str):
    """Of 64 KiB at most, between which others have their turn; and it comes out right."""
    body = PAGE * 40
    async with open_stage() as stage, trio.open_nursery() as nursery:
        watched = stage.plane.compressor = Watched()
        client = await stage.connect()
        await client.send(get(coding))
        line = await stage.backend.accept()
        await line.read_head()
        nursery.start_soon(line.send, answer(body))
        await client.read_head()
        decoder, got = Decoder(coding), []
        while chunk := await read_chunk(client):
            got.append(decoder.feed(chunk))
        assert b"".join(got) == body
        assert decoder.eof
        assert sum(watched.sizes) == len(body)
        assert max(watched.sizes) <= PARSED_BYTES


@EACH
async def test_lengths_do_not_tell_what_is_in_a_page(coding: str):
    """The same page has another length each time, by some bytes (BREACH)."""
    async with open_stage() as stage:
        client = await stage.connect()
        line = None
        lengths = []
        for _ in range(40):
            await client.send(get(coding))
            if line is None:
                line = await stage.backend.accept()
            await line.read_head()
            await line.send(answer(PAGE[:5000]))
            _, body = await client.read_response()
            assert decode(coding, body) == PAGE[:5000]
            lengths.append(len(body))
        assert len(set(lengths)) > 5
        assert max(lengths) - min(lengths) <= JITTER


@EACH
async def test_over_http2_too_with_trailers(coding: str):
    """In pieces, with a length and without, and to HEAD."""
    fields = (*GET2, (b"accept-encoding", coding.encode()))
    async with open_stage() as stage:
        client = await connect_http2(stage)
        await client.request(1, fields)
        line = await stage.backend.accept()
        await line.read_head()
        await line.send(b"HTTP/1.1 200 OK\r\n%bTransfer-Encoding: chunked\r\n\r\n" % HTML)
        await line.send(b"%x\r\n%b\r\n" % (len(PAGE), PAGE))
        decoder = Decoder(coding)
        got = b""
        while len(got) < len(PAGE):
            size = len(client.read.bodies.get(1, b""))
            await client.take()
            got += decoder.feed(bytes(client.read.bodies.get(1, b"")[size:]))
        await line.send(b"0\r\nX-Sum: 7\r\n\r\n")
        size = len(client.read.bodies[1])
        await client.wait_end(1)
        assert decoder.feed(bytes(client.read.bodies[1][size:])) == b""
        assert decoder.eof
        assert got == PAGE
        assert (b"x-sum", b"7") in client.read.fields[1][1]
        head = dict(client.read.fields[1][0])
        assert head[b"content-encoding"] == coding.encode()
        assert b"content-length" not in head
        await client.request(3, fields)
        await line.read_head()
        await line.send(answer(PAGE[:5000]))
        await client.wait_end(3)
        assert decode(coding, client.answer(3)[1]) == PAGE[:5000]
        await client.request(5, ((b":method", b"HEAD"), *fields[1:]))
        await line.read_head()
        await line.send(answer(b"", HTML).replace(b"Length: 0", b"Length: 5000"))
        await client.wait_end(5)
        assert client.answer(5) == (200, b"")
        assert dict(client.read.fields[5][0])[b"content-encoding"] == coding.encode()
        assert [record["response_bytes"] for record in await stage.wait_records(3)] == [
            *(len(client.read.bodies[stream]) for stream in (1, 3)),
            0,
        ]


@EACH
async def test_what_waits_for_a_slow_client_is_compressed(coding: str, tmp_path: Path):
    """The backend and the encoder are let go when the backend is done; the client gets all of it in its time."""
    body = random.Random(1).randbytes(6_000_000).hex().encode()
    async with open_stage(pool={"buffer": True}, spool_directory=tmp_path) as stage:
        slow = await stage.connect(receive_buffer=4096)
        await slow.send(get(coding))
        line = await stage.backend.accept()
        await line.read_head()
        await line.send(answer(body))
        await stage.wait_in_flight(0)
        assert stage.plane.compressor.encoders == 0
        assert stage.records() == []
        await slow.read_head()
        decoder, got, written = Decoder(coding), [], 0
        while chunk := await read_chunk(slow):
            written += len(chunk)
            got.append(decoder.feed(chunk))
        assert b"".join(got) == body
        assert decoder.eof
        (record,) = await stage.wait_records()
        assert record["response_bytes"] == written < len(body) * 0.7
        assert stage.log.defects == []


# Strangers.


@asynccontextmanager
async def serve_page() -> AsyncIterator[int]:
    """A backend that gives the page as a whole at `/`, and in pieces elsewhere."""

    async def serve(stream: trio.SocketStream) -> None:
        data = b""
        async for piece in stream:
            data += piece
            while b"\r\n\r\n" in data:
                request, _, data = data.partition(b"\r\n\r\n")
                if request.startswith(b"GET / "):
                    await stream.send_all(answer(PAGE[:60000]))
                else:
                    await stream.send_all(b"HTTP/1.1 200 OK\r\n%bTransfer-Encoding: chunked\r\n\r\n" % HTML)
                    for place in range(0, 60000, 20000):
                        await stream.send_all(b"4e20\r\n%b\r\n" % PAGE[place : place + 20000])
                    await stream.send_all(b"0\r\n\r\n")

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        async with open_plane(TcpAddress("127.0.0.1", listener.socket.getsockname()[1])) as running:
            yield running.port
            assert running.log.defects == []
        nursery.cancel_scope.cancel()


async def run(command: Sequence[str], data: bytes = b"") -> bytes:
    """What a program prints."""
    done = await trio.to_thread.run_sync(
        lambda: subprocess.run(command, input=data, capture_output=True, check=True, timeout=20)
    )
    return done.stdout


@pytest.mark.fail_after(40)
async def test_curl_zstd_and_python_read_every_padding():
    """Twenty times each, so that lengths differ; from the start to the end, whole and in pieces."""
    curl, zstd = require_tool("curl", package="curl"), require_tool("zstd", package="zstd")
    async with serve_page() as port:
        for path in ("", "pieces"):
            url = f"http://127.0.0.1:{port}/{path}"
            for coding in ("gzip", "zstd"):
                accept = f"Accept-Encoding: {coding}"
                many = [url] * 20
                assert await run([curl, "-sS", "--compressed", "-H", accept, *many]) == PAGE[:60000] * 20
                for _ in range(5):
                    raw = await run([curl, "-sS", "-H", accept, url])
                    plain = gzip.decompress(raw) if coding == "gzip" else await run([zstd, "-dc"], raw)
                    assert plain == PAGE[:60000]
                async with httpx.AsyncClient(headers={"Accept-Encoding": coding}) as client:
                    for _ in range(20):
                        response = await client.get(url)
                        assert response.headers["Content-Encoding"] == coding
                        if coding == "gzip":  # httpx reads zstd only where another package is installed
                            assert response.content == PAGE[:60000]


@pytest.mark.fail_after(60)
async def test_a_browser_reads_every_padding():
    """Chromium takes zstd from this machine; the page is its text, and came in a fifth of its bytes."""
    async with serve_page() as port, open_browser() as browser:
        await browser.open(f"http://127.0.0.1:{port}/")
        lengths = await browser.ask(
            "const lengths = [];"
            "for (let round = 0; round < 20; round++) for (const path of ['/', '/pieces']) {"
            "  const request = new XMLHttpRequest();"
            "  request.open('GET', path + '?' + round, false); request.send();"
            "  lengths.push(request.getResponseHeader('Content-Encoding') + ' ' + request.responseText.length);"
            "}"
            "return lengths;"
        )
        assert lengths == ["zstd 60000"] * 40
