"""Requests that are answered with files: which file, how it is answered, and what is sent when something goes wrong."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from hotswap.core.config import RouteTable, TlsTable
from hotswap.edge.client.tls import open_context
from hotswap.edge.files import disk_call, file_carrier, look_up, opening
from hotswap.edge.files.disk_call import DISK_SECONDS
from hotswap.edge.files.files_step import KEPT_BYTES, FilesStep
from hotswap.edge.files.opening import Ability
from hotswap.edge.files.stored_file import SMALL
from tests.support.certificates import Names
from tests.support.http2_client import connect_http2
from tests.support.stage import Line, Stage, open_stage

pytestmark = pytest.mark.fail_after(20)

LARGE = 3 * 1024 * 1024 + 17
CONTENT = os.urandom(LARGE)


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """A directory of files."""
    root = tmp_path / "media"
    (root / "css").mkdir(parents=True)
    (root / "css" / "a.css").write_bytes(b"body { color: red }\n")
    (root / "large.bin").write_bytes(CONTENT)
    (root / "empty.txt").write_bytes(b"")
    (root / "docs").mkdir()
    (root / "docs" / "index.html").write_bytes(b"<h1>docs</h1>")
    (root / "index.html").write_bytes(b"<h1>app</h1>")
    (root / ".env").write_bytes(b"SECRET=1")
    (root / "out").symlink_to("/etc/passwd")
    os.mkfifo(root / "fifo")
    return root


def route(root: Path | str, **keys: Any) -> RouteTable:
    return RouteTable.model_validate({"path": "/static/", "files": str(root), **keys})


async def ask(
    client: Line, target: str = "/static/css/a.css", *lines: str, method: str = "GET", version: str = "1.1"
) -> tuple[int, dict[str, str], bytes]:
    """One request on a connection; gives status, fields and body."""
    text = "".join(f"{line}\r\n" for line in ("Host: example.org", *lines))
    await client.send(f"{method} {target} HTTP/{version}\r\n{text}\r\n".encode())
    head = (await client.read_head()).decode()
    status = int(head.split(" ", 2)[1])
    pairs = (line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
    fields = {name.lower(): value for name, value in pairs}
    length = 0 if method == "HEAD" or status == 304 else int(fields["content-length"])
    return status, fields, await client.read_exactly(length) if length else b""


def publish(stage: Stage, *directories: Path) -> None:
    """Have a view of the pool name these directories."""
    view = stage.plane.gates["web"].claims.view
    stage.plane.apply(replace(view, version=view.version + 1, directories=tuple(map(str, directories))))


def counted(stage: Stage) -> dict[int, int]:
    return {code: count for (_, code), count in stage.plane.tally.static_responses.items()}


# What is answered.


async def test_a_file_is_answered_with_its_fields(media):
    """Type, length, validators, and no guessing by browsers."""
    async with open_stage(routes=(route(media),)) as stage:
        client = await stage.connect()
        status, fields, body = await ask(client)
        assert (status, body) == (200, b"body { color: red }\n")
        assert fields["content-type"] == "text/css; charset=utf-8"
        assert fields["x-content-type-options"] == "nosniff"
        assert fields["cache-control"] == "no-cache"
        assert fields["accept-ranges"] == "bytes"
        assert fields["etag"].startswith('"')
        assert fields["last-modified"].endswith("GMT")
        assert "date" in fields
        assert "vary" not in fields
        (record,) = await stage.wait_records()
        assert (record["status"], record["pool"], record["slot"], record["response_bytes"]) == (200, "", None, 20)
        assert counted(stage) == {200: 1}
        assert stage.plane.tally.requests["public", "", "GET", 200] == 1


async def test_one_connection_gets_many_files(media):
    """Kept alive, small and large ones, HEAD and conditions in between."""
    async with open_stage(routes=(route(media),)) as stage:
        client = await stage.connect()
        for _ in range(3):
            assert (await ask(client))[0] == 200
            status, fields, body = await ask(client, "/static/large.bin")
            assert (status, body == CONTENT) == (200, True)
            status, again, _ = await ask(client, "/static/large.bin", method="HEAD")
            assert (status, again["content-length"]) == (200, str(LARGE))
            etag = f"If-None-Match: {fields['etag']}"
            status, unchanged, _ = await ask(client, "/static/large.bin", etag)
            assert (status, unchanged["etag"]) == (304, fields["etag"])
            assert "content-length" not in unchanged
            assert (await ask(client, "/static/empty.txt"))[::2] == (200, b"")
            assert (await ask(client, "/static/none.css"))[0] == 404


@pytest.mark.parametrize(
    "target",
    [
        *("/static/none.css", "/static/.env", "/static/out", "/static/fifo", "/static/css/a.css/x", "/static/css"),
        *("/static/css/", "/static/" + "x" * 300),
    ],
)
async def test_what_is_no_file_is_not_found(media, target):
    """Nothing hidden, no link, no listing, and nobody may keep that answer."""
    async with open_stage(routes=(route(media),)) as stage:
        status, fields, _ = await ask(await stage.connect(), target)
        assert (status, fields["cache-control"]) == (404, "no-store")
        assert counted(stage) == {404: 1}


async def test_a_directory_is_answered_with_its_index(media):
    """With the slash at its end; without it the client is sent there, and to no other host."""
    async with open_stage(routes=(route(media, path="/"),)) as stage:
        client = await stage.connect()
        assert (await ask(client, "/"))[2] == b"<h1>app</h1>"
        assert (await ask(client, "/docs/"))[2] == b"<h1>docs</h1>"
        status, fields, _ = await ask(client, "/docs?x=1")
        assert (status, fields["location"]) == (301, "/docs/?x=1")
        status, fields, _ = await ask(client, "//docs")
        assert (status, fields["location"]) == (301, "/docs/")


async def test_a_name_with_a_hash_is_kept_for_ever(media):
    """Nobody has to ask again for what never changes."""
    (media / "a.5af66c1b1797.css").write_bytes(b"x")
    async with open_stage(routes=(route(media),)) as stage:
        _, fields, _ = await ask(await stage.connect(), "/static/a.5af66c1b1797.css")
        assert fields["cache-control"] == "public, max-age=31536000, immutable"


async def test_the_tag_of_a_small_file_is_of_its_content(media, tmp_path):
    """So that it is the same in each release and on each machine."""
    os.utime(media / "css" / "a.css", (1, 1))
    other = tmp_path / "other"
    (other / "css").mkdir(parents=True)
    (other / "css" / "a.css").write_bytes((media / "css" / "a.css").read_bytes())
    async with open_stage(routes=(route(media), route(other, path="/other/"))) as stage:
        client = await stage.connect()
        _, one, _ = await ask(client)
        _, two, _ = await ask(client, "/other/css/a.css")
        assert one["etag"] == two["etag"]
        assert one["last-modified"] != two["last-modified"]


@pytest.mark.parametrize("target", ["/static/css/a.css", "/static/large.bin"])
async def test_a_range_is_answered_with_that_part(media, target):
    """Of what is kept and of what is read; outside of it there is none."""
    content = (media / target.removeprefix("/static/")).read_bytes()
    async with open_stage(routes=(route(media),)) as stage:
        client = await stage.connect()
        status, fields, body = await ask(client, target, "Range: bytes=3-9")
        assert (status, body) == (206, content[3:10])
        assert fields["content-range"] == f"bytes 3-9/{len(content)}"
        assert (await ask(client, target, "Range: bytes=-5"))[2] == content[-5:]
        assert (await ask(client, target, "Range: bytes=2-"))[2] == content[2:]
        assert (await ask(client, target, "Range: bytes=0-1,3-4"))[::2] == (200, content)
        assert (await ask(client, target, "Range: bytes=0-1", 'If-Range: "old"'))[::2] == (200, content)
        status, fields, _ = await ask(client, target, f"Range: bytes={len(content)}-")
        assert (status, fields["content-range"]) == (416, f"bytes */{len(content)}")
        assert (await ask(client, target, "Range: bytes=0-1", method="HEAD"))[0] == 200
        assert (await ask(client, target, 'If-Match: "other"'))[0] == 412


async def test_a_compressed_sibling_is_given_to_who_takes_it(media):
    """The smallest, with a tag of its own, and caches are told what it depends on."""
    (media / "css" / "a.css.gz").write_bytes(b"gzipped!")
    (media / "css" / "a.css.br").write_bytes(b"br")
    async with open_stage(routes=(route(media),)) as stage:
        client = await stage.connect()
        _, plain, body = await ask(client)
        assert body.startswith(b"body")
        assert (plain["vary"], plain.get("content-encoding")) == ("Accept-Encoding", None)
        _, fields, body = await ask(client, "/static/css/a.css", "Accept-Encoding: gzip, br")
        assert (body, fields["content-encoding"], fields["vary"]) == (b"br", "br", "Accept-Encoding")
        assert fields["content-type"] == "text/css; charset=utf-8"
        assert fields["etag"] != plain["etag"]
        _, fields, body = await ask(client, "/static/css/a.css", "Accept-Encoding: gzip")
        assert (body, fields["content-encoding"]) == (b"gzipped!", "gzip")
        tag = f"If-None-Match: {fields['etag']}"
        status, fields, _ = await ask(client, "/static/css/a.css", "Accept-Encoding: gzip", tag)
        assert (status, fields["vary"]) == (304, "Accept-Encoding")
        assert (await ask(client, "/static/css/a.css", tag))[0] == 200
        # Its own name is a file like others.
        _, fields, _ = await ask(client, "/static/css/a.css.gz")
        assert (fields["content-type"], fields.get("content-encoding")) == ("application/gzip", None)


async def test_a_stale_sibling_is_not_given(media):
    """It is one of a file that was."""
    (media / "css" / "a.css.gz").write_bytes(b"gzipped!")
    os.utime(media / "css" / "a.css.gz", (1, 1))
    async with open_stage(routes=(route(media),)) as stage:
        _, fields, _ = await ask(await stage.connect(), "/static/css/a.css", "Accept-Encoding: gzip")
        assert "content-encoding" not in fields


async def test_a_sibling_that_vanishes_leaves_the_file(media, monkeypatch):
    """A deploy may take it away between two looks at it."""
    sibling = media / "css" / "a.css.gz"
    sibling.write_bytes(b"gzipped!")
    real = look_up._sizes_of_siblings

    def look_and_lose(*arguments: Any, cached: bool) -> Any:
        sizes = real(*arguments, cached=cached)
        sibling.unlink(missing_ok=True)
        return sizes

    monkeypatch.setattr(look_up, "_sizes_of_siblings", look_and_lose)
    async with open_stage(routes=(route(media),)) as stage:
        status, fields, body = await ask(await stage.connect(), "/static/css/a.css", "Accept-Encoding: gzip")
        assert (status, body) == (200, b"body { color: red }\n")
        assert "content-encoding" not in fields


async def test_a_route_that_says_no_to_compression_has_no_siblings(media):
    """Whatever lies there."""
    (media / "css" / "a.css.gz").write_bytes(b"gzipped!")
    async with open_stage(routes=(route(media, compress=False),)) as stage:
        _, fields, _ = await ask(await stage.connect(), "/static/css/a.css", "Accept-Encoding: gzip")
        assert "content-encoding" not in fields
        assert "vary" not in fields


async def test_files_are_only_read(media):
    """Other methods are refused, with what may be done instead."""
    async with open_stage(routes=(route(media),)) as stage:
        client = await stage.connect()
        status, fields, _ = await ask(client, method="POST")
        assert (status, fields["allow"]) == (405, "GET, HEAD")
        status, fields, _ = await ask(client, method="OPTIONS")
        assert (status, fields["allow"]) == (200, "GET, HEAD, OPTIONS")


async def test_a_client_of_http_1_0_is_answered(media):
    """With a length, and kept where it asks for that."""
    async with open_stage(routes=(route(media),)) as stage:
        client = await stage.connect()
        status, fields, _ = await ask(client, "/static/css/a.css", "Connection: keep-alive", version="1.0")
        assert (status, fields["connection"]) == (200, "keep-alive")
        status, _, body = await ask(client, "/static/large.bin", version="1.0")
        assert (status, body == CONTENT) == (200, True)
        assert await client.read_to_end() == b""


async def test_clients_over_tls_and_http_2_are_answered(media, tmp_path):
    """Small and large files, HEAD and conditions."""
    names = Names(tmp_path)
    table = TlsTable.model_validate({"certificates": [names.files("localhost")]})
    context = open_context(table, http2=True, authority_dir=tmp_path, where="x")
    async with open_stage(routes=(route(media),), context=context) as stage:
        client = await stage.connect_tls(names.client)
        assert (await ask(client))[2].startswith(b"body")
        assert (await ask(client, "/static/large.bin"))[2] == CONTENT
    async with open_stage(routes=(route(media),)) as stage:
        multiplexed = await connect_http2(stage)
        for stream, (method, path) in enumerate(
            [("GET", "css/a.css"), ("GET", "large.bin"), ("HEAD", "large.bin"), ("GET", "none"), ("GET", "empty.txt")]
        ):
            fields = ((b":method", method.encode()), (b":scheme", b"http"), (b":authority", b"example.org"))
            await multiplexed.request(2 * stream + 1, (*fields, (b":path", b"/static/" + path.encode())))
            await multiplexed.wait_end(2 * stream + 1)
        assert multiplexed.answer(1) == (200, b"body { color: red }\n")
        assert multiplexed.answer(3) == (200, CONTENT)
        assert multiplexed.answer(5) == (200, b"")
        assert multiplexed.answer(7)[0] == 404
        assert multiplexed.answer(9) == (200, b"")


# Which file.


async def test_releases_are_asked_newest_first(tmp_path):
    """A page of any of them finds the files that it names, and one that both have is the newest's."""
    for name in ("old", "new"):
        (tmp_path / name / "static").mkdir(parents=True)
        (tmp_path / name / "static" / f"{name}.css").write_bytes(name.encode())
        (tmp_path / name / "static" / "both.css").write_bytes(name.encode())
    async with open_stage(routes=(route("static", pool="web"),)) as stage:
        client = await stage.connect()
        publish(stage, tmp_path / "old")
        assert (await ask(client, "/static/both.css"))[2] == b"old"
        publish(stage, tmp_path / "new", tmp_path / "old")
        assert (await ask(client, "/static/both.css"))[2] == b"new"
        assert (await ask(client, "/static/old.css"))[2] == b"old"
        assert (await ask(client, "/static/new.css"))[2] == b"new"
        (record, *_) = await stage.wait_records()
        assert (record["pool"], record["slot"], record["generation"]) == ("web", None, None)


async def test_what_was_missing_is_found_as_soon_as_its_release_is_published(tmp_path):
    """A page may name it at once: nothing that was known before counts."""
    (tmp_path / "new" / "static").mkdir(parents=True)
    (tmp_path / "new" / "static" / "new.css").write_bytes(b"new")
    async with open_stage(routes=(route("static"),)) as stage:
        client = await stage.connect()
        assert (await ask(client, "/static/new.css"))[0] == 404
        stage.plane.set_routes((route("static", pool="web"),))
        publish(stage, tmp_path / "new")
        assert (await ask(client, "/static/new.css"))[2] == b"new"


async def test_a_release_that_was_deleted_is_passed_over(tmp_path):
    """And reported once; when it is there again, it is asked again."""
    (tmp_path / "old" / "static").mkdir(parents=True)
    (tmp_path / "old" / "static" / "a.css").write_bytes(b"old")
    async with open_stage(routes=(route("static", pool="web"),)) as stage:
        client = await stage.connect()
        publish(stage, tmp_path / "new", tmp_path / "old")
        for _ in range(3):
            assert (await ask(client, "/static/a.css"))[2] == b"old"
            await stage.let_pass(2)
        assert [fields for event, fields in stage.log.said if event == "files.missing"] == [
            {"pool": "web", "directory": str(tmp_path / "new" / "static")}
        ]
        (tmp_path / "new" / "static").mkdir(parents=True)
        (tmp_path / "new" / "static" / "a.css").write_bytes(b"new")
        await stage.let_pass(2)
        assert (await ask(client, "/static/a.css"))[2] == b"new"


async def test_what_is_written_anew_is_seen_a_second_later(media):
    """Also when its directory is another one, and when it has gone."""
    async with open_stage(routes=(route(media),)) as stage:
        client = await stage.connect()
        _, before, _ = await ask(client)
        (media / "css" / "a.css").write_bytes(b"new content")
        await stage.let_pass(2)
        _, after, body = await ask(client)
        assert body == b"new content"
        assert before["etag"] != after["etag"]
        media.rename(media.parent / "away")
        (media / "css").mkdir(parents=True)
        (media / "css" / "a.css").write_bytes(b"another tree")
        await stage.let_pass(2)
        assert (await ask(client))[2] == b"another tree"
        (media / "css" / "a.css").unlink()
        await stage.let_pass(2)
        assert (await ask(client))[0] == 404


async def test_the_pool_answers_where_there_is_no_file(media):
    """And every request that is not for a file."""
    async with open_stage(routes=(route(media, pool="web", path="/"),)) as stage:
        client = await stage.connect()
        assert (await ask(client, "/css/a.css"))[2].startswith(b"body")
        for target, method in (("/users/7", "GET"), ("/css/a.css", "POST"), ("/css", "GET")):
            await client.send(f"{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
            if method == "GET" and target == "/users/7":
                line = await stage.backend.accept()
            assert (await line.read_head()).startswith(f"{method} {target} ".encode())
            await line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            assert (await client.read_response())[1] == b"ok"


async def test_a_relative_directory_without_releases_has_no_files():
    """A static pool has none, and a route without a pool neither."""
    async with open_stage(routes=(route("static"), route("static", path="/web/", pool="nobody"))) as stage:
        client = await stage.connect()
        assert (await ask(client, "/static/a.css"))[0] == 404
        assert (await ask(client, "/web/a.css"))[0] == 503


async def test_a_single_page_app_knows_all_paths(media):
    """Its page is answered for them, with 200; a missing asset stays missing."""
    async with open_stage(routes=(route(media, path="/", fallback="index.html"),)) as stage:
        client = await stage.connect()
        status, fields, body = await ask(client, "/users/7", "Accept: text/html")
        assert (status, body, fields["cache-control"]) == (200, b"<h1>app</h1>", "no-cache")
        assert (await ask(client, "/users/7", f"If-None-Match: {fields['etag']}"))[0] == 304
        assert (await ask(client, "/users/7", method="HEAD"))[0] == 200
        assert (await ask(client, "/assets/old-DiwrgTda.js"))[0] == 404
        assert (await ask(client, "/api/x", "Accept: application/json"))[0] == 404
        (media / "index.html").unlink()
        await stage.let_pass(2)
        assert (await ask(client, "/users/7"))[0] == 404


# What goes wrong.


async def test_a_file_that_may_not_be_read_is_not_found_and_reported(media, monkeypatch):
    """To a client it is none; an operator sees why."""

    def refuse(*_arguments: object, **_keys: object) -> int:
        raise PermissionError(13, "Permission denied")

    async with open_stage(routes=(route(media),)) as stage:
        client = await stage.connect()
        assert (await ask(client, "/static/empty.txt"))[0] == 200
        monkeypatch.setattr("hotswap.edge.files.root.open_beneath", refuse)
        for _ in range(3):
            assert (await ask(client))[0] == 404
        assert [event for event, _ in stage.log.said] == ["files.unreadable"]


async def test_a_file_that_is_cut_short_breaks_the_answer_off(media):
    """The client sees that it is not whole; a file that grows is sent at the length that was said."""
    large = media / "huge.bin"
    with large.open("wb") as file:
        file.truncate(64 * 1024 * 1024)
    async with open_stage(routes=(route(media),)) as stage:
        client = await stage.connect(receive_buffer=4096)
        await client.send(b"GET /static/huge.bin HTTP/1.1\r\nHost: x\r\n\r\n")
        head = await client.read_head()
        assert b"Content-Length: 67108864\r\n" in head
        os.truncate(large, 1000)
        assert len(await client.wait_broken()) < 64 * 1024 * 1024
        (record,) = await stage.wait_records()
        assert record["error"] == "the file was cut short while it was sent"
        assert record["side"] == "internal"
        os.truncate(large, 300_000)
        await stage.let_pass(2)
        client = await stage.connect()
        await client.send(
            b"GET /static/huge.bin HTTP/1.1\r\nHost: x\r\n\r\nGET /static/empty.txt HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        os.truncate(large, 400_000)
        assert len((await client.read_response())[1]) in (300_000, 400_000)
        assert (await client.read_response())[1] == b""


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_a_client_that_leaves_takes_the_descriptor_with_it(media):
    """In the middle of a large file, politely or not; and a gigabyte costs no memory, nor does a slow reader."""
    with (media / "huge.bin").open("wb") as file:
        file.truncate(1024**3)
    async with open_stage(routes=(route(media),)) as stage:
        client = await stage.connect()
        await ask(client)
        client.close()
        await stage.wait_connections(0)
        before = open_descriptors()
        clients = []
        for _ in range(4):
            client = await stage.connect(receive_buffer=4096)
            await client.send(b"GET /static/huge.bin HTTP/1.1\r\nHost: x\r\n\r\n")
            await client.read_head()
            clients.append(client)
        await stage.settle()
        kept = [connection.stream.unsent for connection in stage.plane.listeners["public"].connections]  # type: ignore[attr-defined]
        assert max(kept) <= 512 * 1024
        for number, client in enumerate(clients):
            if number % 2:
                client.close()
            else:
                client.reset()
        await stage.wait_connections(0)
        assert open_descriptors() == before


async def test_a_client_that_reads_nothing_is_given_up(media):
    """As with every other answer, by the idle timeout of the listener."""
    with (media / "huge.bin").open("wb") as file:
        file.truncate(1024**3)
    async with open_stage(routes=(route(media),), limits={"idle_timeout": "5s"}) as stage:
        client = await stage.connect(receive_buffer=4096)
        await client.send(b"GET /static/huge.bin HTTP/1.1\r\nHost: x\r\n\r\n")
        await client.read_head()
        await stage.let_pass(6)
        await stage.let_pass(6)
        (record,) = await stage.wait_records()
        assert record["error"] == "the client does not read its answer"
        await stage.wait_connections(0)


async def test_roots_are_let_go_with_their_routes(media):
    """A reload keeps no descriptor of what no route names any more."""
    async with open_stage(routes=(route(media),)) as stage:
        client = await stage.connect()
        await stage.wait_connections(1)
        before = open_descriptors()
        await ask(client)
        assert open_descriptors() == before + 1
        stage.plane.set_routes((RouteTable(pool="web"),))
        while open_descriptors() != before:  # a thread that looked for it has it until its next call, or ends
            await trio.sleep(0.01)


async def test_roots_are_let_go_with_their_releases(tmp_path):
    """When no view names them any more."""
    for name in "abc":
        (tmp_path / name / "static").mkdir(parents=True)
    async with open_stage(routes=(route("static", pool="web"),)) as stage:
        (step,) = stage.plane.rules[0].steps  # type: ignore[union-attr]
        assert isinstance(step, FilesStep)
        client = await stage.connect()
        await stage.wait_connections(1)
        before = open_descriptors()
        publish(stage, tmp_path / "a", tmp_path / "b")
        stage.plane.set_routes((route("static", pool="web"),))
        del step
        await client.send(b"GET /static/x HTTP/1.1\r\nHost: x\r\n\r\n")
        line = await stage.backend.serve_one()
        await client.read_response()
        several = open_descriptors()
        publish(stage, tmp_path / "c")
        await client.send(b"GET /static/x HTTP/1.1\r\nHost: x\r\n\r\n")
        await line.read_head()
        await line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await client.read_response()
        while open_descriptors() != several - 1:  # as above
            await trio.sleep(0.01)
        assert several > before


async def test_what_is_kept_is_bounded(tmp_path):
    """In bytes: the oldest goes when a new one has no room."""
    for number in range(KEPT_BYTES // SMALL + 20):
        (tmp_path / f"{number}.bin").write_bytes(bytes(SMALL))
    async with open_stage(routes=(route(tmp_path),)) as stage:
        client = await stage.connect()
        for number in range(KEPT_BYTES // SMALL + 20):
            assert (await ask(client, f"/static/{number}.bin"))[0] == 200
        (step,) = stage.plane.rules[0].steps  # type: ignore[union-attr]
        assert isinstance(step, FilesStep)
        places = step._places.values()
        assert sum(place.kept_bytes for place in places) == step._kept <= KEPT_BYTES
        assert (await ask(client, "/static/0.bin"))[0] == 200


# Disks that are slow.


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Nothing is in memory: every look at the disk waits in a thread until this is set."""
    go = threading.Event()
    real = look_up.look_up

    def waiting(*arguments: Any, cached: bool, **options: Any) -> Any:
        if cached:
            raise BlockingIOError(11, "not in memory")
        assert threading.current_thread() is not threading.main_thread()
        go.wait(10)
        return real(*arguments, cached=cached, **options)

    monkeypatch.setattr("hotswap.edge.files.files_step.look_up", waiting)
    return go


async def test_a_cold_disk_holds_up_nobody_else(media, slow_disk):
    """A thread waits for it; other requests are answered meanwhile, and this one as soon as it is found."""
    async with open_stage(routes=(route(media), RouteTable(pool="web"))) as stage:
        client = await stage.connect()
        await client.send(b"GET /static/css/a.css HTTP/1.1\r\nHost: x\r\n\r\n")
        await stage.settle()
        await stage.exchange()
        slow_disk.set()
        assert (await client.read_response())[1].startswith(b"body")
        assert (await ask(client, "/static/large.bin"))[2] == CONTENT
        assert (await ask(client, "/static/none"))[0] == 404


async def test_the_pool_is_asked_after_a_cold_disk(media, slow_disk):
    """The exchange goes on where it was."""
    slow_disk.set()
    async with open_stage(routes=(route(media, pool="web"),)) as stage:
        client = await stage.connect()
        await client.send(b"GET /static/none HTTP/1.1\r\nHost: x\r\n\r\n")
        await stage.backend.serve_one()
        assert (await client.read_response())[1] == b"ok"


async def test_a_dead_disk_is_not_waited_for_for_ever(media, slow_disk):
    """503 after a while, and it is reported; who leaves meanwhile is let go."""
    async with open_stage(routes=(route(media),)) as stage:
        client, leaving = await stage.connect(), await stage.connect()
        for one in (client, leaving):
            await one.send(b"GET /static/css/a.css HTTP/1.1\r\nHost: x\r\n\r\n")
        await stage.settle()
        leaving.close()
        await stage.wait_connections(1)
        await stage.let_pass(DISK_SECONDS + 1)
        head, _ = await client.read_response()
        assert head.startswith(b"HTTP/1.1 503 ")
        assert [event for event, _ in stage.log.said] == ["files.unreadable"]
        slow_disk.set()
        await stage.let_pass(1)
        assert (await ask(client))[0] == 200


async def test_a_queue_before_a_dead_disk_is_bounded(media, slow_disk, monkeypatch):
    """Nobody is put behind those that wait already."""
    monkeypatch.setattr(disk_call, "DISK_QUEUE", 0)
    async with open_stage(routes=(route(media),)) as stage:
        assert (await ask(await stage.connect()))[0] == 503


@pytest.mark.parametrize("able", [Ability.BENEATH, Ability.WALK])
async def test_a_kernel_that_cannot_tell_is_asked_in_threads(media, monkeypatch, able):
    """Everything is answered all the same."""
    monkeypatch.setattr(opening, "ability", lambda: able)
    async with open_stage(routes=(route(media, path="/", fallback="index.html"),)) as stage:
        client = await stage.connect()
        assert (await ask(client, "/css/a.css"))[2].startswith(b"body")
        assert (await ask(client, "/large.bin"))[2] == CONTENT
        assert (await ask(client, "/users/7"))[2] == b"<h1>app</h1>"
        assert (await ask(client, "/out"))[2] == b"<h1>app</h1>"


@pytest.mark.parametrize("code", [11, 95])
async def test_a_large_file_that_is_not_in_memory_is_read_ahead(media, monkeypatch, code):
    """Also where a file system cannot tell; the bytes are the same."""
    real = os.preadv
    read_ahead = []

    def preadv(fd: int, buffers: Any, offset: int, flags: int = 0) -> int:
        if flags:
            raise OSError(code, os.strerror(code))
        if threading.current_thread() is not threading.main_thread():
            read_ahead.append(offset)
        return real(fd, buffers, offset)

    monkeypatch.setattr(os, "preadv", preadv)
    async with open_stage(routes=(route(media),)) as stage:
        client = await stage.connect()
        assert (await ask(client, "/static/large.bin"))[2] == CONTENT
        assert read_ahead
        assert (await ask(client))[0] == 200


async def test_a_disk_that_dies_in_the_middle_breaks_the_answer_off(media, monkeypatch):
    """After a while, visibly, and the descriptor goes when the thread lets go of it."""
    go = threading.Event()

    def wait(file: object, begin: int, end: int) -> int:
        go.wait(10)
        return end

    monkeypatch.setattr(file_carrier, "_read_through", wait)
    real = os.preadv

    def preadv(fd: int, buffers: Any, offset: int, flags: int = 0) -> int:
        if flags and offset > 200_000:
            raise BlockingIOError(11, "not in memory")
        return real(fd, buffers, offset, flags)

    monkeypatch.setattr(os, "preadv", preadv)
    async with open_stage(routes=(route(media),)) as stage:
        client = await stage.connect()
        await client.send(b"GET /static/large.bin HTTP/1.1\r\nHost: x\r\n\r\n")
        await client.read_head()
        await stage.let_pass(DISK_SECONDS + 1)
        assert len(await client.wait_broken()) < LARGE
        (record,) = await stage.wait_records()
        assert record["error"] == "the disk takes too long"
        go.set()


async def test_a_stop_lets_a_download_end(media):
    """What has begun is finished within the time that a stop gives."""
    async with open_stage(routes=(route(media),)) as stage:
        client = await stage.connect(receive_buffer=4096)
        await client.send(b"GET /static/large.bin HTTP/1.1\r\nHost: x\r\n\r\n")
        await client.read_head()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: stage.plane.drain_downstream(timeout=10))
            assert await client.read_exactly(LARGE) == CONTENT
            assert await client.read_to_end() == b""
