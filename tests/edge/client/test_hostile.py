"""The corpus against a data plane: real sockets, a backend that records every byte, each case cut in three ways."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import pytest
import trio

from hotswap.core.config import RouteTable
from tests.support.plane import Running, open_plane
from tests.support.raw_client import Answered, open_client
from tests.support.recording_backend import Recorded, RecordingBackend, open_recording_backend
from tests.wire.feeding import cut
from tests.wire.payloads import accepted, framing, request_line
from tests.wire.payloads.case import SMUGGLED, Forwarded, Refused

REFUSED = (*framing.CASES, *request_line.CASES)
FIELD = re.compile(rb"[!#$%&'*+.^`|~0-9A-Za-z-]+: (?:[!-~\x80-\xff](?:[ \t!-~\x80-\xff]*[!-~\x80-\xff])?)?")
"""A line that we write: one space behind the colon, none before it, none at the end, no underscore."""


def pieces_of(raw: bytes) -> list[list[bytes]]:
    """A case whole, byte by byte (long ones in coarse pieces), and with a request behind it."""
    return [[raw], cut(raw) if len(raw) < 1000 else [raw[:500], raw[500:]], [raw + SMUGGLED]]


async def send_and_read(port: int, pieces: Sequence[bytes]) -> list[Answered]:
    """Send, and read until the proxy ends the connection; at most one answer may come."""
    with trio.fail_after(5):
        async with open_client(port) as client:
            await client.send(pieces)
            await client.wait_end()
            return await client.wait_answers([b"GET"])


def assert_quiet(running: Running, backend: RecordingBackend) -> None:
    """No defect, no malformed byte at the backend, and an access line that is JSON for everything."""
    assert running.log.defects == []
    assert backend.faults == []
    for lines in running.access:
        for line in lines.splitlines():
            assert json.loads(line)["status"]


@pytest.mark.parametrize("case", [case for case in REFUSED if not case.by_route], ids=lambda case: case.row)
async def test_hostile_bytes_are_answered_and_closed(case: Refused) -> None:
    """One answer with the right status, the connection ends, and the backend has seen no request."""
    async with open_recording_backend() as (backend, address), open_plane(address, http2=False) as running:
        for pieces in pieces_of(case.raw):
            answers = await send_and_read(running.port, pieces)
            assert [answer.status for answer in answers] == [answers[0].status]
            assert answers[0].status in case.statuses
            assert answers[0].complete
            assert answers[0].named(b"connection") == [b"close"]
            assert b"/" not in answers[0].body  # nothing of the request is reflected
        assert not [recorded for recorded in backend.requests if recorded.complete]
        if not case.in_body:
            assert not any(backend.received)
        await trio.testing.wait_all_tasks_blocked()
        assert_quiet(running, backend)


@pytest.mark.parametrize("case", [case for case in REFUSED if case.by_route], ids=lambda case: case.row)
async def test_targets_without_a_meaning_are_answered(case: Refused) -> None:
    """A well-formed request that cannot be routed is answered, and what follows it is served on its own."""
    async with open_recording_backend() as (backend, address), open_plane(address) as running:
        for pieces in ([case.raw, SMUGGLED], cut(case.raw + SMUGGLED), [case.raw + SMUGGLED]):
            with trio.fail_after(5):
                async with open_client(running.port) as client:
                    await client.send(pieces)
                    answers = await client.wait_answers([b"GET", b"GET"])
            assert answers[0].status in case.statuses
            if answers[0].named(b"connection") != [b"close"]:
                assert (answers[1].status, answers[1].body) == (200, b"/smuggled")
        assert {recorded.request.target for recorded in backend.requests} <= {b"/smuggled"}
        assert_quiet(running, backend)


@pytest.mark.parametrize("case", accepted.CASES, ids=lambda case: case.row)
async def test_good_requests_reach_the_backend_written_afresh(case: Forwarded) -> None:
    """The backend sees the case's request and nothing else, in our own spelling; what follows is its own."""
    async with open_recording_backend() as (backend, address), open_plane(address) as running:
        for pieces in (*pieces_of(case.raw)[:2], cut(case.raw + SMUGGLED), [case.raw + SMUGGLED]):
            behind = b"".join(pieces).endswith(SMUGGLED)
            backend.requests.clear()
            methods = [case.method, b"GET"] if behind else [case.method]
            with trio.fail_after(5):
                async with open_client(running.port) as client:
                    await client.send(pieces)
                    if case.closes:
                        await client.wait_end()
                    answers = await client.wait_answers(methods)
            if answers[0].status in case.or_refused:
                assert not [recorded for recorded in backend.requests if recorded.complete]
                continue
            assert answers[0].status == 200
            assert answers[0].complete
            if behind and not case.closes:
                assert (answers[1].status, answers[1].body) == (200, b"/smuggled")
                first, second = backend.requests
                assert_written_well(second)
                assert second.request.target == b"/smuggled"
            else:
                assert len(answers) == 1
                (first,) = backend.requests
            assert_written_well(first)
            assert_as_told(case, first)
        assert_quiet(running, backend)


def assert_written_well(recorded: Recorded) -> None:
    """Single spaces, one Host and first, one framing, no field of the connection that is not ours (F20)."""
    start, *lines = recorded.raw_head.split(b"\r\n")
    assert re.fullmatch(rb"[A-Z-]+ [!-~]+ HTTP/1\.1", start)
    for line in lines:
        assert FIELD.fullmatch(line), line
    names = [name for name, _ in recorded.fields]
    assert names[0] == b"host"
    for name in (b"host", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-request-id"):
        assert names.count(name) == 1
    assert names.count(b"content-length") + names.count(b"transfer-encoding") <= 1
    assert not {b"keep-alive", b"proxy-connection", b"http2-settings", b"proxy", b"trailer"} & set(names)


def assert_as_told(case: Forwarded, recorded: Recorded) -> None:
    """Compare what came with what the case says."""
    assert recorded.complete
    assert (recorded.request.method, recorded.request.target) == (case.method, case.target)
    assert recorded.fields[0] == (b"host", case.host)
    assert recorded.body == case.body
    names = {name for name, _ in recorded.fields}
    assert not names & (set(case.absent) - {b"content-length"})
    wanted = [name for name, _ in case.fields]
    assert [named for named in recorded.fields if named[0] in wanted] == list(case.fields)


async def test_a_tenant_never_gets_the_requests_of_an_unknown_host() -> None:
    """L12: a host without a route is answered 404 by the proxy, whatever port or case it is written with."""
    route = RouteTable(hosts=("example.org",), pool="web")
    async with (
        open_recording_backend() as (backend, address),
        open_plane(address, routes=(route,)) as running,
        open_client(running.port) as client,
    ):
        for host, status in ((b"example.net", 404), (b"xexample.org", 404), (b"EXAMPLE.org:1", 200)):
            client.received.clear()
            await client.send([b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host])
            answers = await client.wait_answers([b"GET"])
            assert answers[0].status == status
        assert len(backend.requests) == 1


# The pool "closed" does not exist, so what is routed to it is answered 503.
SPELLINGS = {
    b"/public/../admin/x": 400,
    b"/public/%2e%2e/admin/x": 400,
    b"/public%2f..%2fadmin": 400,
    b"/%2fadmin": 400,
    b"//admin/x": 400,
    b"/public/..%5cadmin": 400,
    b"/public/..;/admin": 400,
    b"/admin/..": 400,
    b"/%61dmin/x": 503,
    b"/admin": 503,
    b"/adminx": 200,
    b"/public/%252e%252e/admin": 400,
    b"/a%2fb/..;/admin/x": 400,
    b"/x/..;/admin//..;/": 400,
    b"/%5c./admin/..;/": 400,
    b"/public%252f..%252fx": 200,
    b"/public/a/../b": 200,
    b"/public/a%2fb": 200,
}


@pytest.mark.parametrize(("target", "status"), SPELLINGS.items())
async def test_no_spelling_of_a_path_steps_over_a_route(target: bytes, status: int) -> None:
    """L12: a path that two backends would read as two routes is refused; every other goes on as it was sent."""
    routes = (RouteTable(path="/admin", pool="closed"), RouteTable(pool="web"))
    async with (
        open_recording_backend() as (backend, address),
        open_plane(address, routes=routes) as running,
        open_client(running.port) as client,
    ):
        await client.send([b"GET %b HTTP/1.1\r\nHost: example.org\r\n\r\n" % target])
        (answer,) = await client.wait_answers([b"GET"])
        assert answer.status == status
        assert [recorded.request.target for recorded in backend.requests] == ([target] if status == 200 else [])
