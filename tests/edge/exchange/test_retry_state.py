"""What follows when a backend fails an exchange, end to end (the rows of `hotswap.core.http.retry`)."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import trio

from hotswap.core.pool.lifecycle import BackendState, Health
from tests.support.stage import GET, OK, Line, Stage, open_stage

pytestmark = pytest.mark.fail_after(10)

POST = b"POST / HTTP/1.1\r\nHost: example.org\r\nContent-Length: 5\r\n\r\nhello"
PUT = POST.replace(b"POST", b"PUT")


def fill_queue(stage: Stage, path: Path) -> int:
    """Connect until the kernel takes no more; returns how many are waiting."""
    for count in range(100):
        other = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        stage.stack.callback(other.close)
        other.setblocking(False)
        if other.connect_ex(str(path)):
            return count
    raise AssertionError("the queue has no end")


async def test_a_refused_connect_goes_to_the_other_backend_whatever_the_method():
    """Nothing was written, so nothing can happen twice."""
    async with open_stage(backends=2) as stage:
        await stage.backends[0].refuse()
        for _ in range(2):  # round-robin: one of them meets the closed one first
            client = await stage.connect()
            await client.send(POST)
            line = await stage.backends[1].accept()
            await line.read_head()
            assert await line.read_exactly(5) == b"hello"
            await line.send(OK)
            await client.read_response()
        retries = sum(record["retries"] for record in await stage.wait_records(2))
        assert retries >= 1
        assert stage.plane.tally.retries["web", "not-connected"] == retries
        assert stage.plane.pool_counts("web").retried == retries


async def test_alone_a_refused_connect_is_tried_again_after_a_pause_then_502():
    """Two more tries, then the answer; no claim is left."""
    async with open_stage() as stage:
        await stage.backend.refuse()
        client = await stage.connect()
        await client.send(GET)
        await stage.let_pass(1)
        await stage.let_pass(1)
        await stage.let_pass(1)
        head, body = await client.read_response()
        assert head.startswith(b"HTTP/1.1 502 ")
        assert body == b"502 Bad Gateway\n"
        (record,) = await stage.wait_records()
        assert (record["side"], record["retries"]) == ("upstream", 2)
        assert stage.backend.in_flight == 0


async def test_a_pooled_connection_that_was_closed_is_replaced_and_costs_no_try():
    """Seen at once, since an idle connection that becomes readable is dropped."""
    async with open_stage() as stage:
        client, line = await stage.exchange()
        line.close()
        await stage.settle()
        assert stage.link.connections_to(stage.backend.member) == 0
        await client.send(POST)
        again = await stage.backend.accept()
        await again.read_head()
        await again.send(OK)
        await client.read_response()
        assert (await stage.wait_records(2))[1]["retries"] == 0


async def test_stray_bytes_on_an_idle_connection_end_it():
    """What nobody asked for is never taken for a response."""
    async with open_stage() as stage:
        client, line = await stage.exchange()
        await line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong")
        await stage.settle()
        await client.send(GET)
        await stage.backend.serve_one()
        assert (await client.read_response())[1] == b"ok"


async def test_bytes_behind_a_long_body_end_the_connection():
    """They arrive with the end of the body, before anybody could see the connection idle."""
    size = 256 * 1024 * 2
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(GET)
        line = await stage.backend.accept()
        await line.read_head()
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.send, answer + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong")
            await client.read_response()
        await client.send(GET)
        await stage.backend.serve_one()
        assert (await client.read_response())[1] == b"ok"


@pytest.mark.parametrize("request_bytes", [GET, PUT], ids=["GET", "PUT"])
async def test_a_reused_connection_that_ends_is_followed_by_a_fresh_one(request_bytes):
    """For what may be sent twice."""
    async with open_stage() as stage:
        client, line = await stage.exchange()
        await client.send(request_bytes)
        await line.read_head()
        line.close()
        again = await stage.backend.accept()
        assert b"\r\nX-Hotswap-Retry: 1\r\n" in await again.read_head()
        if request_bytes is PUT:
            assert await again.read_exactly(5) == b"hello"
        await again.send(OK)
        assert (await client.read_response())[1] == b"ok"
        assert (await stage.wait_records(2))[1]["retries"] == 1
        assert stage.plane.tally.retries["web", "broken"] == 1


async def test_a_post_is_never_sent_twice():
    """502, whether the connection was fresh or not."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(POST)
        line = await stage.backend.accept()
        await line.read_head()
        await line.read_exactly(5)
        line.close()
        assert (await client.read_response())[0].startswith(b"HTTP/1.1 502 ")
        await client.send(GET)
        line = await stage.backend.serve_one()
        await client.read_response()
        await client.send(POST)
        await line.read_head()
        await line.read_exactly(5)
        line.close()
        assert (await client.read_response())[0].startswith(b"HTTP/1.1 502 ")
        assert [record["retries"] for record in await stage.wait_records(3)] == [0, 0, 0]


async def test_a_fresh_connection_that_ends_sends_a_get_to_the_other_backend():
    """Another backend, not the same again."""
    async with open_stage(backends=2) as stage:
        client = await stage.connect()
        await client.send(GET)
        first, second = stage.backends
        if first.in_flight == 0:
            await stage.settle()
        chosen, other = (first, second) if first.in_flight else (second, first)
        line = await chosen.accept()
        await line.read_head()
        line.close()
        await other.serve_one()
        assert (await client.read_response())[1] == b"ok"


@pytest.mark.parametrize(("size", "status"), [(65536, b"200"), (65537, b"502")])
async def test_a_body_is_kept_up_to_64_kib(size, status):
    """One byte more cannot be sent again."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(b"PUT / HTTP/1.1\r\nHost: example.org\r\nContent-Length: %d\r\n\r\n" % size)
        line = await stage.backend.accept()
        await line.read_head()
        await client.send(b"x" * size)
        await line.read_exactly(size)
        line.close()
        if status == b"200":
            await stage.let_pass(1)
            again = await stage.backend.accept()
            await again.read_head()
            await again.read_exactly(size)
            await again.send(OK)
        assert (await client.read_response())[0].startswith(b"HTTP/1.1 " + status)


async def test_a_retry_with_a_body_that_is_still_coming_goes_on_with_it():
    """What came is sent again, and the rest follows to the new backend."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(PUT[:-3])
        line = await stage.backend.accept()
        await line.read_head()
        await line.read_exactly(2)
        line.close()
        await stage.let_pass(1)
        again = await stage.backend.accept()
        await again.read_head()
        assert await again.read_exactly(2) == b"he"
        await client.send(b"llo")
        assert await again.read_exactly(3) == b"llo"
        await again.send(OK)
        assert (await client.read_response())[1] == b"ok"


async def test_a_partial_response_is_never_retried_and_visibly_cut():
    """No last chunk, no clean end."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(GET)
        line = await stage.backend.serve_one(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
        await client.read_head()
        line.close()
        assert await client.read_to_end() == b"2\r\nhi\r\n"
        (record,) = await stage.wait_records()
        assert (record["status"], record["side"], record["retries"]) == (200, "upstream", 0)


async def test_a_partial_response_to_http_1_0_ends_with_a_reset():
    """There an orderly end would say that the body is whole."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        line = await stage.backend.serve_one(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
        await client.read_head()
        line.close()
        with pytest.raises(trio.BrokenResourceError):
            await client.read_to_end()


async def test_no_response_in_time_is_504_and_not_retried():
    """The work may be running."""
    async with open_stage(pool={"response_timeout": "10s"}) as stage:
        client = await stage.connect()
        await client.send(GET)
        line = await stage.backend.accept()
        await line.read_head()
        await stage.let_pass(11)
        assert (await client.read_response())[0].startswith(b"HTTP/1.1 504 ")
        assert await line.wait_broken() == b""
        (record,) = await stage.wait_records()
        assert (record["side"], record["retries"]) == ("upstream", 0)


async def test_a_stream_is_idle_from_its_last_byte():
    """However long it lasts in all."""
    async with open_stage(limits={"idle_timeout": "10s"}) as stage:
        client = await stage.connect()
        await client.send(GET)
        line = await stage.backend.serve_one(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await client.read_head()
        for _ in range(5):
            await stage.let_pass(8)
            await line.send(b"1\r\nx\r\n")
            assert await client.read_exactly(6) == b"1\r\nx\r\n"
        await stage.let_pass(11)
        assert await client.read_to_end() == b""


async def test_a_backend_that_takes_nothing_has_a_deadline():
    """The request cannot be sent, the client waits: 504 at the response timeout (found by reading)."""
    async with open_stage(pool={"response_timeout": "10s"}) as stage:
        client = await stage.connect()
        size = 64 << 20
        await client.send(b"POST / HTTP/1.1\r\nHost: example.org\r\nContent-Length: %d\r\n\r\n" % size)
        line = await stage.backend.accept()
        await line.read_head()
        async with trio.open_nursery() as nursery:

            async def upload() -> None:
                with pytest.raises(trio.BrokenResourceError):
                    await client.send(b"x" * size)

            nursery.start_soon(upload)
            connection = next(iter(stage.plane.gates["web"].upstreams[stage.backend.member.id].connections))
            while not connection.stream.backed_up:
                await trio.sleep(0.002)
            await stage.let_pass(11)
            (record,) = await stage.wait_records()
            assert (record["status"], record["side"]) == (504, "upstream")
        assert connection.stream.closed


async def _in_flight(stage: Stage, count: int) -> tuple[list[Line], list[list[Line]]]:
    """So many requests at each backend, unanswered: their clients, and each backend's ends."""
    clients = []
    for _ in range(count * len(stage.backends)):
        clients.append(await stage.connect())
        await clients[-1].send(GET)
    await stage.settle()
    lines = []
    for backend in stage.backends:
        lines.append([await backend.accept() for _ in range(count)])
        for line in lines[-1]:
            await line.read_head()
    return clients, lines


async def test_what_a_dying_backend_had_in_flight_fits_the_budget():
    """Found: two thirds of it were answered 502, with another backend idle."""
    async with open_stage(backends=2) as stage:
        clients, (dying, staying) = await _in_flight(stage, 6)
        await stage.backends[0].refuse()
        for line in dying:
            line.close()
        again = [await stage.backends[1].accept() for _ in dying]
        for line in again:
            await line.read_head()
        for line in (*again, *staying):
            await line.send(OK)
        for client in clients:
            assert (await client.read_response())[0].startswith(b"HTTP/1.1 200 ")


async def test_the_budget_bounds_how_many_are_retried_at_once():
    """A pool that fails every request is not asked three times as often."""
    async with open_stage(backends=2) as stage:
        _, lines = await _in_flight(stage, 6)
        for line in (*lines[0], *lines[1]):
            line.close()
        await stage.settle()
        statuses = [record["status"] for record in stage.records()]
        assert set(statuses) == {502}
        assert 3 <= len(statuses) <= 6  # what one backend had, and three, may be retries


async def test_a_request_marked_by_another_proxy_is_not_retried():
    """Retries of retries multiply."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(GET.replace(b"\r\n\r\n", b"\r\nX-Hotswap-Retry: 1\r\n\r\n"))
        line = await stage.backend.accept()
        await line.read_head()
        line.close()
        assert (await client.read_response())[0].startswith(b"HTTP/1.1 502 ")


async def test_a_connect_that_takes_too_long_fails(tmp_path):
    """A backend whose queue is full for five seconds is not connected to (EAGAIN on a unix socket)."""
    async with open_stage(backends=0) as stage:
        path = tmp_path / "s"
        backend = await stage.add_backend(slot=0, path=path)
        fill_queue(stage, path)
        client = await stage.connect()
        await client.send(GET)
        await stage.settle()
        assert stage.link.connections_to(backend.member) == 1
        for _ in range(6):  # three tries with pauses between
            await stage.let_pass(6)
        assert (await client.read_response())[0].startswith(b"HTTP/1.1 502 ")


async def test_a_full_queue_that_empties_is_only_a_delay(tmp_path):
    """EAGAIN is tried again until there is room."""
    async with open_stage(backends=0) as stage:
        path = tmp_path / "s"
        backend = await stage.add_backend(slot=0, path=path)
        count = fill_queue(stage, path)
        client = await stage.connect()
        await client.send(GET)
        await stage.settle()
        for _ in range(count):
            await backend.accept()
        await stage.let_pass(0.1)
        await backend.serve_one()
        assert (await client.read_response())[1] == b"ok"


async def test_a_path_that_is_not_there_is_no_connection(tmp_path):
    """As a refused connect."""
    async with open_stage(backends=1) as stage:
        path = tmp_path / "s"
        gone = await stage.add_backend(slot=1, path=path)
        path.unlink()
        for _ in range(2):
            client = await stage.connect()
            await client.send(POST)
            await stage.backend.serve_one()
            await client.read_response()
        assert gone.in_flight == 0


async def test_a_backend_that_is_removed_gives_its_requests_to_another():
    """Its process was found dead before its sockets were."""
    async with open_stage(backends=2) as stage:
        client = await stage.connect()
        await client.send(GET)
        await stage.settle()
        chosen, other = sorted(stage.backends, key=lambda backend: -backend.in_flight)
        line = await chosen.accept()
        await line.read_head()
        stage.pool.move(chosen.member, BackendState.DRAINING, now=0.0)
        stage.pool.remove(chosen.member)
        await other.serve_one()
        assert (await client.read_response())[1] == b"ok"
        assert stage.plane.gates["web"].claims.claim() is not None


async def test_an_unhealthy_backend_keeps_what_it_has():
    """Health decides about new exchanges only."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(GET)
        line = await stage.backend.accept()
        await line.read_head()
        stage.pool.set_health(stage.backend.member, Health.UNHEALTHY)
        await line.send(OK)
        assert (await client.read_response())[1] == b"ok"
        assert await line.read_to_end() == b""  # and is not kept connected
