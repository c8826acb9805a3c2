"""Requests that are the same as one before, byte for byte: answered the same for a moment, and never longer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hotswap.core.config import RouteTable
from hotswap.edge.exchange.repeats import KEPT_ANSWERS_BYTES, KEPT_REQUEST_BYTES, Repeats
from hotswap.edge.files.files_step import FRESH_SECONDS
from hotswap.wire.http1.request_parser import RequestParser
from tests.support.stage import Line, Stage, open_stage

pytestmark = pytest.mark.fail_after(15)

REQUEST = b"GET /static/a.css HTTP/1.1\r\nHost: example.org\r\n\r\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "a.css").write_bytes(b"one")
    return tmp_path


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What is parsed."""
    fed: list[bytes] = []
    feed = RequestParser.feed

    def counting(parser: RequestParser, data: bytes) -> object:
        fed.append(data)
        return feed(parser, data)

    monkeypatch.setattr(RequestParser, "feed", counting)
    return fed


def files(root: Path, **keys: object) -> RouteTable:
    return RouteTable.model_validate({"path": "/static/", "files": str(root), **keys})


async def ask(client: Line, request: bytes = REQUEST) -> tuple[bytes, bytes]:
    await client.send(request)
    return await client.read_response()


async def twice(client: Line, request: bytes = REQUEST) -> tuple[bytes, bytes]:
    """The second time the answer is in memory, the third time it would be a repeat."""
    await ask(client, request)
    return await ask(client, request)


async def test_the_same_request_is_parsed_no_more(root, parsed):
    """By any client; each is counted and has its line in the access log, with its own address and time."""
    async with open_stage(routes=(files(root),)) as stage:
        client = await stage.connect()
        first = await twice(client)
        assert len(parsed) == 2
        for _ in range(3):
            assert await ask(client) == first
        assert await ask(await stage.connect()) == first
        assert len(parsed) == 2
        records = await stage.wait_records(6)
        assert len({str(record | {"duration": 0}) for record in records}) == 1
        assert stage.plane.tally.requests["public", "", "GET", 200] == 6
        assert stage.plane.tally.static_responses["public", 200] == 6
        # Whoever asks for something else is answered with that.
        assert (await ask(client, REQUEST.replace(b"a.css", b"b.css")))[0].startswith(b"HTTP/1.1 404 ")


async def test_it_holds_for_a_second(root, parsed):
    """Then it is looked whether the file is still the same."""
    async with open_stage(routes=(files(root),)) as stage:
        client = await stage.connect()
        await twice(client)
        (root / "a.css").write_bytes(b"another")
        await stage.let_pass(FRESH_SECONDS + 0.1)
        assert (await ask(client))[1] == b"another"
        assert len(parsed) == 3


async def test_nothing_is_repeated_when_something_else_has_changed(root, tmp_path, parsed):
    """Routes, listeners, and the releases of a pool: at once."""
    (tmp_path / "new" / "static").mkdir(parents=True)
    (tmp_path / "new" / "static" / "a.css").write_bytes(b"new")
    (tmp_path / "old" / "static").mkdir(parents=True)
    (tmp_path / "old" / "static" / "a.css").write_bytes(b"old")

    def publish(stage: Stage, *names: str) -> None:
        view = stage.plane.gates["web"].claims.view
        paths = tuple(str(tmp_path / name) for name in names)
        stage.plane.apply(replace(view, version=view.version + 1, directories=paths))

    relative = RouteTable(path="/static/", files="static", pool="web")
    async with open_stage(routes=(relative,)) as stage:
        client = await stage.connect()
        publish(stage, "old")
        assert (await twice(client))[1] == b"old"
        publish(stage, "new", "old")
        assert (await twice(client))[1] == b"new"
        stage.plane.set_routes((files(root),))
        assert (await twice(client))[1] == b"one"
        stage.plane.set_routes((files(root, path="/other/"),))
        assert (await ask(client))[0].startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(REQUEST + REQUEST, id="pipelined"),
        pytest.param(REQUEST.replace(b"\r\n\r\n", b"\r\nContent-Length: 2\r\n\r\nab"), id="with a body"),
        pytest.param(REQUEST.replace(b"\r\n\r\n", b"\r\nX: %b\r\n\r\n" % (b"x" * KEPT_REQUEST_BYTES)), id="long"),
        pytest.param(REQUEST.replace(b"1.1", b"1.0"), id="the last of its connection"),
    ],
)
async def test_only_a_whole_head_alone_is_learnt(root, request_):
    """What is in the bytes of a request must be all of it, and nothing else."""
    async with open_stage(routes=(files(root),)) as stage:
        await ask(await stage.connect())
        client = await stage.connect()
        await client.send(request_)
        for _ in range(request_.count(b"GET")):
            assert (await client.read_response())[1] == b"one"
        assert not stage.plane.repeats


async def test_half_a_head_is_not_taken_for_a_repeat(root, parsed):
    """What looks like a request may be the rest of another one's head."""
    async with open_stage(routes=(files(root),)) as stage:
        client = await stage.connect()
        await twice(client)
        await client.send(b"GET /static/none.css HTTP/1.1\r\nHost: x\r\nX-Rest: ")
        await stage.settle()
        await client.send(REQUEST)
        head, _ = await client.read_response()
        assert head.startswith(b"HTTP/1.1 400 ")  # two hosts


async def test_a_connection_ends_when_it_should(root):
    """After as many requests as a listener allows, and when the proxy stops: the answer says so."""
    async with open_stage(routes=(files(root),), limits={"requests_per_connection": 4}) as stage:
        client = await stage.connect()
        for number in range(4):
            head, body = await ask(client)
            assert body == b"one"
            assert (b"\r\nConnection: close\r\n" in head) is (number == 3)
        client = await stage.connect()
        await twice(client)
        stage.plane.stopping = True
        assert b"\r\nConnection: close\r\n" in (await ask(client))[0]


async def test_a_route_with_other_rules_is_not_repeated(root):
    """They may judge the same request otherwise the next time."""
    async with open_stage(routes=(files(root, allow=["127.0.0.0/8"]),)) as stage:
        client = await stage.connect()
        await twice(client)
        assert (await ask(client))[1] == b"one"
        assert not stage.plane.repeats


async def test_who_has_no_files_is_not_looked_up(root):
    """It costs a route without them nothing."""
    async with open_stage() as stage:
        assert not stage.plane.repeats.enabled
        await stage.exchange()
        assert not stage.plane.repeats


async def test_what_is_kept_is_bounded(root):
    """In bytes; when they are more all are forgotten."""
    async with open_stage(routes=(files(root),)) as stage:
        await twice(await stage.connect())
        (repeat,) = stage.plane.repeats.values()
        repeats = Repeats()
        repeat = replace(repeat, data=bytes(1024 * 1024))
        for number in range(20):
            repeats.learn(b"%d" % number, repeat)
            assert len(repeats) * 1024 * 1024 <= KEPT_ANSWERS_BYTES
        repeats.learn(b"19", repeat)
        assert len(repeats) == len({*repeats})
        repeats.forget()
        assert not repeats


async def test_a_client_that_has_gone_keeps_nothing(root):
    """Nor does its connection live on because its answer is kept."""
    async with open_stage(routes=(files(root),)) as stage:
        client = await stage.connect()
        await twice(client)
        (repeat,) = stage.plane.repeats.values()
        assert not hasattr(repeat.exchange, "responder")
        await client.send(REQUEST)
        client.reset()
        await stage.wait_connections(0)
