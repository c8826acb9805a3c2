"""Files that a backend has answered in its place: by X-Accel-Redirect and X-Sendfile, over HTTP/1 and HTTP/2."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from hotswap.core.http.sendfile import sendfile_roots
from hotswap.core.pool.lifecycle import BackendState
from hotswap.core.strategy import Balance
from hotswap.edge.upstream.discarded import DISCARDED_BYTES
from tests.support.http2_client import connect_http2
from tests.support.http2_frames import GET as H2_GET
from tests.support.stage import GET, OK, Line, Stage, open_stage

pytestmark = pytest.mark.fail_after(10)

LARGE = bytes(range(256)) * 4096
"""A mebibyte: more than a socket takes at once, and than what is kept in memory."""
EMPTY = b"Content-Length: 0\r\n"


@asynccontextmanager
async def open_files(directory: Path, **settings: Any) -> AsyncIterator[Stage]:
    """A stage whose backends may have the files of a directory answered, below /protected/."""
    (directory / "a b.pdf").write_bytes(b"%PDF of somebody")
    (directory / "deep").mkdir()
    (directory / "deep" / "large.bin").write_bytes(LARGE)
    async with open_stage(**settings) as stage:
        stage.pool.reconfigure(
            balance=Balance.ROUND_ROBIN,
            size=1,
            max_in_flight=0,
            sendfile=sendfile_roots({"/protected/": str(directory)}),
        )
        yield stage
        assert not stage.log.defects
        # Nobody holds a file open who has sent it.
        assert not held_below(directory)


def held_below(directory: Path) -> list[str]:
    """The files of a directory that this process has open."""
    held = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            path = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue
        if path.startswith(f"{directory}/"):
            held.append(path)
    return held


def naming(value: bytes, *fields: bytes, name: bytes = b"X-Accel-Redirect", status: bytes = b"200 OK") -> bytes:
    """The answer of an app that names a file."""
    lines = b"".join(field + b"\r\n" for field in (b"%b: %b" % (name, value), *fields))
    return b"HTTP/1.1 %b\r\n%b\r\n" % (status, lines + (b"" if b"ontent-Length" in lines else EMPTY))


def fields_of(head: bytes) -> dict[str, str]:
    """By name in lower case."""
    lines = head.decode("latin-1").split("\r\n")[1:-2]
    found = [line.partition(": ") for line in lines]
    names = [name.lower() for name, _, _ in found if name.lower() != "set-cookie"]
    assert len(names) == len(set(names)), f"a field is doubled: {head!r}"
    return {name.lower(): value for name, _, value in found}


async def get(
    stage: Stage, answer: bytes, *fields: bytes, method: bytes = b"GET", body: bytes = b""
) -> tuple[int, dict[str, str], bytes]:
    """Ask, have the app answer so, and give status, fields and body of what comes; both connections are used again."""
    client = await stage.connect()
    asked = b"".join(field + b"\r\n" for field in fields)
    await client.send(b"%b /download HTTP/1.1\r\nHost: x\r\n%b\r\n%b" % (method, asked, body))
    line = await stage.backend.accept()
    await line.read_head()
    if body:
        await line.read_exactly(len(body))
    await line.send(answer)
    if method == b"HEAD":
        head, content = await client.read_head(), b""
    else:
        head, content = await client.read_response()
    await client.send(GET)
    await line.read_head()
    await line.send(OK)
    assert (await client.read_response())[1] == b"ok"
    assert stage.in_flight == 0
    client.close()
    line.close()
    return int(head.split()[1]), fields_of(head), content


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"X-Accel-Redirect", b"/protected/a%20b.pdf"),
        (b"x-accel-redirect", b"/protected/a b.pdf?expires=1"),
        (b"X-Sendfile", b"%b/a b.pdf"),
        (b"X-SENDFILE", b"%b/a b.pdf"),
    ],
)
async def test_the_file_is_answered_with_what_the_app_said_of_it(tmp_path: Path, name: bytes, value: bytes):
    """Type, name, caching and cookies; length, ranges and validators are the file's. The fields do not go on."""
    path = value % bytes(tmp_path) if b"%b" in value else value
    answer = naming(
        path,
        b"Content-Type: application/pdf",
        b"Content-Disposition: attachment; filename=mine.pdf",
        b"Cache-Control: private, max-age=60",
        b"Set-Cookie: seen=1",
        b"Content-Security-Policy: sandbox",
        b"Content-Encoding: gzip",
        b"Accept-Ranges: none",
        b"Content-Length: 0",
        b"X-Accel-Limit-Rate: 100",
        b"X-Accel-Charset: utf-8",
        b"X-Accel-Expires: 60",
        name=name,
    )
    async with open_files(tmp_path) as stage:
        status, fields, body = await get(stage, answer)
        assert (status, body) == (200, b"%PDF of somebody")
        assert fields["content-type"] == "application/pdf"
        assert fields["content-disposition"] == "attachment; filename=mine.pdf"
        assert fields["cache-control"] == "private, max-age=60"
        assert fields["set-cookie"] == "seen=1"
        assert fields["content-security-policy"] == "sandbox"
        assert fields["content-length"] == "16"
        assert fields["accept-ranges"] == "bytes"
        assert fields.keys() >= {"etag", "last-modified", "date"}
        assert not any(one.startswith(("x-accel", "x-send", "content-encoding")) for one in fields)


async def test_what_the_app_does_not_say_is_told_of_the_file(tmp_path: Path):
    """Its type by its name; and nobody but the client keeps it, since it may be one person's."""
    async with open_files(tmp_path) as stage:
        _, fields, _ = await get(stage, naming(b"/protected/a b.pdf"))
        assert fields["content-type"] == "application/pdf"
        assert fields["cache-control"] == "private, no-cache"
        _, fields, _ = await get(stage, naming(b"/protected/a b.pdf", b"Expires: Thu, 01 Jan 2037 00:00:00 GMT"))
        assert "cache-control" not in fields


async def test_conditions_and_ranges_are_answered_by_the_file(tmp_path: Path):
    """By its validators; a HEAD has its length."""
    async with open_files(tmp_path) as stage:
        answer = naming(b"/protected/deep/large.bin", b"Cache-Control: private", b"Set-Cookie: a=b")
        status, fields, body = await get(stage, answer)
        assert (status, body) == (200, LARGE)
        etag, modified = fields["etag"].encode(), fields["last-modified"].encode()
        for condition in (b"If-None-Match: " + etag, b"If-Modified-Since: " + modified):
            status, fields, body = await get(stage, answer, condition)
            assert (status, body, fields["set-cookie"], fields["cache-control"]) == (304, b"", "a=b", "private")
            assert "content-length" not in fields
        status, fields, body = await get(stage, answer, b"Range: bytes=1000-1999")
        assert (status, body) == (206, LARGE[1000:2000])
        assert fields["content-range"] == f"bytes 1000-1999/{len(LARGE)}"
        status, fields, _ = await get(stage, answer, b"Range: bytes=9999999-")
        assert (status, fields["content-range"]) == (416, f"bytes */{len(LARGE)}")
        status, fields, body = await get(stage, answer, method=b"HEAD")
        assert (status, fields["content-length"], body) == (200, str(len(LARGE)), b"")


async def test_validators_of_the_app_are_those_that_clients_compare(tmp_path: Path):
    """It knows its versions; a weak one chooses no part."""
    async with open_files(tmp_path) as stage:
        own = (b'ETag: "v7"', b"Last-Modified: Thu, 01 Jan 2015 00:00:00 GMT")
        answer = naming(b"/protected/a b.pdf", *own)
        status, fields, _ = await get(stage, answer, b'If-None-Match: "v7"')
        assert (status, fields["etag"]) == (304, '"v7"')
        assert (await get(stage, answer, b'If-None-Match: "v6"'))[0] == 200
        assert (await get(stage, answer, b"If-Modified-Since: Thu, 01 Jan 2015 00:00:01 GMT"))[0] == 304
        assert (await get(stage, answer, b'If-Range: "v7"', b"Range: bytes=0-3"))[2] == b"%PDF"
        weak = naming(b"/protected/a b.pdf", b'ETag: W/"v7"')
        assert (await get(stage, weak, b'If-Range: W/"v7"', b"Range: bytes=0-3"))[0] == 200


async def test_an_app_that_has_made_a_part_of_it_has_the_part_answered(tmp_path: Path):
    """As Werkzeug does, which answers 206 itself and leaves the content to the server before it."""
    async with open_files(tmp_path) as stage:
        said = (b"Content-Range: bytes 0-3/16", b"Accept-Ranges: bytes", b"Content-Length: 0")
        answer = naming(b"/protected/a b.pdf", *said, status=b"206 Partial Content")
        status, fields, body = await get(stage, answer, b"Range: bytes=0-3")
        assert (status, fields["content-range"], body) == (206, "bytes 0-3/16", b"%PDF")


async def test_a_post_may_be_answered_by_a_file_whole(tmp_path: Path):
    """Conditions and ranges of a POST say nothing of it."""
    async with open_files(tmp_path) as stage:
        asked = (b"Content-Length: 2", b"Range: bytes=0-3", b"If-None-Match: *")
        status, _, body = await get(stage, naming(b"/protected/a b.pdf"), *asked, method=b"POST", body=b"hi")
        assert (status, body) == (200, b"%PDF of somebody")


@pytest.mark.parametrize("status", [b"201 Created", b"302 Found", b"403 Forbidden", b"404 Not Found"])
async def test_only_a_success_names_a_file(tmp_path: Path, status: bytes):
    """Everything else is the app's own answer, without the field."""
    answer = b"HTTP/1.1 %b\r\nX-Accel-Redirect: /protected/a b.pdf\r\nContent-Length: 3\r\n\r\nown" % status
    async with open_files(tmp_path) as stage:
        found, fields, body = await get(stage, answer)
        assert (found, body) == (int(status.split()[0]), b"own")
        assert "x-accel-redirect" not in fields


@pytest.mark.parametrize(
    ("name", "value", "status", "why"),
    [
        (b"X-Accel-Redirect", b"/elsewhere/a.pdf", 502, "below none"),
        (b"X-Accel-Redirect", b"@named", 502, "no path"),
        (b"X-Accel-Redirect", b"/protected/../secret", 502, "segment"),
        (b"X-Accel-Redirect", b"/protected/%2e%2e/secret", 502, "segment"),
        (b"X-Accel-Redirect", b"/protected/deep", 502, "directory"),
        (b"X-Accel-Redirect", b"/protected/deep/", 502, "directory"),
        (b"X-Accel-Redirect", b"/protected/link", 502, "symbolic link"),
        (b"X-Accel-Redirect", b"/protected/linked/large.bin", 502, "symbolic link"),
        (b"X-Accel-Redirect", b"/protected/none.pdf", 404, "No such file"),
        (b"X-Accel-Redirect", b"/protected/a b.pdf/x", 404, "Not a directory"),
        (b"X-Accel-Redirect", b"/protected/pipe", 404, "no regular file"),
        (b"X-Accel-Redirect", b"/protected/socket", 404, ""),
        (b"X-Sendfile", b"/etc/passwd", 502, "below none"),
        (b"X-Sendfile", b"a b.pdf", 502, "no path"),
        (b"X-Sendfile", b"%b/../secret", 502, "segment"),
    ],
)
async def test_what_is_no_file_of_the_pool_is_refused_and_told(
    tmp_path: Path, name: bytes, value: bytes, status: int, why: str
):
    """By the log too, with what the app asked for; nothing of another place is read, and nothing is waited for."""
    (tmp_path / "secret").write_text("secret")
    root = tmp_path / "root"
    root.mkdir()
    async with open_files(root) as stage:
        (root / "link").symlink_to(tmp_path / "secret")
        (root / "linked").symlink_to(root / "deep")
        os.mkfifo(root / "pipe")
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(root / "socket"))
        value = value % bytes(root) if b"%b" in value else value
        answer = naming(value, b"Set-Cookie: a=b", name=name)
        found, fields, body = await get(stage, answer)
        assert found == status
        assert b"secret" not in body
        assert "x-accel-redirect" not in fields
        (told,) = [said for event, said in stage.log.said if event == "sendfile.refused"]
        assert (told["pool"], told["status"], told["field"].lower()) == ("web", status, name.decode().lower())
        assert value.decode() == told["value"]
        assert why in told["detail"]
        assert why in stage.records()[0]["error"]


async def test_a_pool_without_entries_answers_no_file(tmp_path: Path):
    """The path is one of the server's, and not for a client."""
    async with open_stage() as stage:
        for name in (b"X-Accel-Redirect", b"X-Sendfile"):
            status, fields, _ = await get(stage, naming(b"/protected/a b.pdf", name=name))
            assert status == 502
            assert name.decode().lower() not in fields
        status, fields, _ = await get(stage, b"HTTP/1.1 200 OK\r\nX-Accel-Expires: 3\r\nContent-Length: 0\r\n\r\n")
        assert (status, "x-accel-expires" in fields) == (200, False)


async def test_a_trusted_proxy_in_front_answers_the_files_of_a_pool_without_entries(tmp_path: Path):
    """So nginx before this proxy goes on as before; where the pool has entries the file is answered here."""
    answer = naming(b"/protected/a b.pdf", b"X-Accel-Limit-Rate: 100")
    async with open_stage(trusted_proxies=["127.0.0.0/8"]) as stage:
        status, fields, _ = await get(stage, answer)
        assert (status, fields["x-accel-redirect"], fields["x-accel-limit-rate"]) == (200, "/protected/a b.pdf", "100")
    async with open_files(tmp_path, trusted_proxies=["127.0.0.0/8"]) as stage:
        status, fields, body = await get(stage, answer)
        assert (status, body) == (200, b"%PDF of somebody")
        assert not any(name.startswith("x-accel") for name in fields)


@pytest.mark.parametrize("name", [b"X-Sendfile-Type: X-Accel-Redirect", b"x-accel-mapping: /=/protected/"])
async def test_a_client_does_not_tell_the_app_how_files_are_answered(tmp_path: Path, name: bytes):
    """Not even through a trusted peer."""
    for trusted in ([], ["127.0.0.0/8"]):
        async with open_stage(trusted_proxies=trusted) as stage:
            client = await stage.connect()
            await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n" + name + b"\r\n\r\n")
            line = await stage.backend.accept()
            assert name.split(b":")[0].lower() not in (await line.read_head()).lower()
            await line.send(OK)
            await client.read_response()


async def test_links_that_the_app_has_resolved_are_found_and_those_of_the_configuration_too(tmp_path: Path):
    """The directory may be named by a link, such as `current`, and the file by where that leads."""
    real = tmp_path / "releases" / "1"
    real.mkdir(parents=True)
    (tmp_path / "current").symlink_to(real)
    async with open_files(real) as stage:
        roots = sendfile_roots({"/protected/": str(tmp_path / "current")})
        stage.pool.reconfigure(balance=Balance.ROUND_ROBIN, size=1, max_in_flight=0, sendfile=roots)
        for path in (real / "a b.pdf", tmp_path / "current" / "a b.pdf"):
            status, _, body = await get(stage, naming(bytes(path), name=b"X-Sendfile"))
            assert (status, body) == (200, b"%PDF of somebody")


async def test_a_slow_download_holds_no_backend(tmp_path: Path):
    """The claim and the connection are free before the first byte of the file is sent, and a drain is complete."""
    async with open_files(tmp_path) as stage:
        client = await stage.connect(receive_buffer=4096)
        await client.send(GET)
        line = await stage.backend.serve_one(naming(b"/protected/deep/large.bin"))
        await stage.wait_in_flight(0)
        stage.pool.move(stage.backend.member, BackendState.DRAINING, now=0.0)
        released = await stage.link.release(stage.backend.member, deadline=trio.current_time() + 5)
        assert released.cut == 0
        assert await line.wait_broken() == b""
        assert (await client.read_response())[1] == LARGE
        (record,) = await stage.wait_records()
        assert (record["status"], record["slot"], record["response_bytes"]) == (200, 0, len(LARGE))


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 5\r\n\r\nhello",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"Content-Length: 10000\r\n\r\n" + b"x" * 10000,
    ],
)
@pytest.mark.parametrize("pieces", [1, 3])
async def test_the_body_that_comes_with_the_field_is_discarded(tmp_path: Path, rest: bytes, pieces: int):
    """In however many pieces it comes; the connection to the backend is used again."""
    answer = b"HTTP/1.1 200 OK\r\nX-Accel-Redirect: /protected/a b.pdf\r\n" + rest
    head = answer.index(b"\r\n\r\n") + 4
    async with open_files(tmp_path) as stage:
        client = await stage.connect()
        await client.send(GET)
        line = await stage.backend.accept()
        await line.read_head()
        for piece in [answer] if pieces == 1 else [answer[:head], answer[head : head + 3], answer[head + 3 :]]:
            await line.send(piece)
            await stage.settle()
        assert (await client.read_response())[1] == b"%PDF of somebody"
        await client.send(GET)
        await line.read_head()
        await line.send(OK)
        assert (await client.read_response())[1] == b"ok"


@pytest.mark.parametrize("how", ["too-long", "endless", "too-slow", "until-close", "interim"])
async def test_what_is_too_much_to_be_discarded_closes_the_connection(tmp_path: Path, how: str):
    """Nothing of it reaches the client, and nothing is waited for."""
    head = b"HTTP/1.1 200 OK\r\nX-Accel-Redirect: /protected/a b.pdf\r\n"
    async with open_files(tmp_path) as stage:
        client = await stage.connect()
        if how == "interim":
            # A request that is not complete yet: what is to come of it has nowhere to go.
            await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n")
            line = await stage.backend.accept()
            await line.read_head()
            await line.send(b"HTTP/1.1 100 Continue\r\n\r\n" + head + b"Content-Length: 2\r\n\r\nno")
            assert b" 100 " in (await client.read_head()).partition(b"\r\n")[0]
        else:
            await client.send(GET)
            line = await stage.backend.accept()
            await line.read_head()
        match how:
            case "too-long":
                await line.send(head + b"Content-Length: %d\r\n\r\nx" % (DISCARDED_BYTES + 1))
            case "endless":
                chunk = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
                await line.send(head + b"Transfer-Encoding: chunked\r\n\r\n")
                with suppress(trio.BrokenResourceError):
                    while True:
                        await line.send(chunk)
            case "too-slow":
                await line.send(head + b"Content-Length: 9\r\n\r\nx")
                await stage.let_pass(1.1)
            case "until-close":
                await line.send(head + b"\r\nx")
                await line.end_writes()
        assert (await client.read_response())[1] == b"%PDF of somebody"
        assert await line.wait_broken() == b""
        assert stage.backend.candidate is not None
        while stage.plane.connections_to(stage.backend.candidate):
            await trio.sleep(0.002)


async def test_over_http2_it_is_the_same(tmp_path: Path):
    """A large file, a HEAD and a refusal, on one connection."""
    async with open_files(tmp_path) as stage:
        client = await connect_http2(stage)
        head = [(name, b"HEAD" if name == b":method" else value) for name, value in H2_GET]
        await client.request(1)
        line = await stage.backend.serve_one(naming(b"/protected/deep/large.bin"))
        await client.wait_end(1)
        assert client.answer(1) == (200, LARGE)
        await client.request(3, head)
        await line.read_head()
        await line.send(naming(b"/protected/deep/large.bin"))
        await client.wait_end(3)
        assert dict(client.read.fields[3][0])[b"content-length"] == b"%d" % len(LARGE)
        await client.request(5)
        await line.read_head()
        await line.send(naming(b"/elsewhere/a"))
        await client.wait_end(5)
        assert client.status(5) == 502


async def test_a_client_that_leaves_leaves_nothing_open(tmp_path: Path):
    """In the middle of the file."""
    async with open_files(tmp_path) as stage:
        os.truncate(tmp_path / "deep" / "large.bin", 1 << 30)
        client = await stage.connect(receive_buffer=4096)
        await client.send(GET)
        await stage.backend.serve_one(naming(b"/protected/deep/large.bin"))
        await client.read_head()
        client.reset()
        (record,) = await stage.wait_records()
        assert record["error"]
        assert not held_below(tmp_path)


async def test_the_log_is_told_once_a_second(tmp_path: Path):
    """A client may ask for the same again and again."""
    async with open_files(tmp_path) as stage:
        for seconds in (0, 0.1, 1.1):
            await stage.let_pass(seconds)
            assert (await get(stage, naming(b"/protected/none")))[0] == 404
        assert len([event for event, _ in stage.log.said if event == "sendfile.refused"]) == 2


async def test_old_clients_and_several_fields(tmp_path: Path):
    """HTTP/1.0 hears where the file ends; the first X-Accel-Redirect counts, and an empty one does not."""
    async with open_files(tmp_path) as stage:
        client = await stage.connect()
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        line: Line = await stage.backend.accept()
        await line.read_head()
        two = (b"X-Accel-Redirect: /protected/a b.pdf", b"X-Accel-Redirect: /protected/none", b"X-Accel-Redirect:")
        await line.send(naming(b"/etc/passwd", *two, name=b"X-Sendfile"))
        data = await client.read_to_end()
        assert re.search(rb"\r\n\r\n%PDF of somebody\Z", data)
