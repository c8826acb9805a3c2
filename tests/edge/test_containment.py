"""An exception that nobody expected ends the connection it happened in, and nothing else (R11)."""

from __future__ import annotations

import os
import socket

import pytest
import trio

from hotswap.edge.loop.poller import READ
from hotswap.edge.loop.timers import NEVER
from hotswap.edge.upstream.upstream_connection import UpstreamConnection
from tests.support.stage import GET, OK, Stage, open_stage

pytestmark = pytest.mark.fail_after(10)

BOOM = GET.replace(b"/ ", b"/boom ")


class BrokenRouter:
    """Fails for one path."""

    def __init__(self, router) -> None:
        self.router = router

    def match(self, host: bytes, path: bytes):
        """As the real one, mostly."""
        if path == b"/boom":
            raise RuntimeError("no such luck")
        return self.router.match(host, path)


def break_router(stage: Stage) -> None:
    """From now on one path hits a defect."""
    stage.plane.router = BrokenRouter(stage.plane.router)  # type: ignore[assignment]


async def test_a_defect_in_one_connection_leaves_the_others_unharmed():
    """500 without a word about what happened, and the other goes on."""
    async with open_stage() as stage:
        break_router(stage)
        client, line = await stage.exchange()
        victim = await stage.connect()
        await victim.send(BOOM)
        answer = await victim.wait_broken()
        assert answer.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
        assert answer.endswith(b"\r\n\r\n500 Internal Server Error\n")
        await client.send(GET)
        await line.read_head()
        await line.send(OK)
        await client.read_response()
        records = await stage.wait_records(3)
        assert (records[1]["status"], records[1]["side"]) == (500, "internal")
        assert stage.log.defects == ["RuntimeError('no such luck')"]
        await stage.wait_connections(1)


async def test_a_defect_while_a_connection_is_accepted_ends_that_connection():
    """Its first bytes are there when it is (found by reading: the client was left waiting)."""
    async with open_stage() as stage:
        break_router(stage)
        stage.plane.listeners["public"].pause()
        victim = await stage.connect()
        await victim.send(BOOM)
        await trio.sleep(0.01)
        stage.plane.listeners["public"].start()
        assert (await victim.wait_broken()).startswith(b"HTTP/1.1 500 ")
        await stage.wait_connections(0)
        await stage.exchange()


async def test_a_defect_in_a_response_is_answered_not_retried():
    """The backend is not asked again for our fault (found by reading: it was)."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(GET)
        line = await stage.backend.accept()
        await line.read_head()
        connection = next(iter(stage.plane.gates["web"].upstreams[stage.backend.member.id].connections))
        assert isinstance(connection, UpstreamConnection)
        assert connection.exchange is not None

        class Boom:
            def feed(self, data: bytes) -> None:
                raise RuntimeError("boom")

        connection._parser = Boom()  # type: ignore[assignment]
        await line.send(OK)
        assert (await client.read_response())[0].startswith(b"HTTP/1.1 500 ")
        assert await line.wait_broken() == b""
        (record,) = await stage.wait_records()
        assert (record["status"], record["retries"], record["side"]) == (500, 0, "internal")
        assert stage.backend.in_flight == 0
        await client.send(GET)
        await stage.backend.serve_one()
        assert (await client.read_response())[1] == b"ok"


async def test_a_handler_that_cannot_even_crash_does_not_stop_the_loop():
    """It is told in the log, and the next client is served (found by reading: it ended the data plane)."""
    async with open_stage() as stage:

        class Worst:
            deadline, armed = float("inf"), NEVER

            def on_deadline(self) -> None:
                raise RuntimeError("first")

            def on_ready(self, events: int) -> None:
                raise RuntimeError("first")

            def on_crash(self, error: Exception) -> None:
                raise RuntimeError("second")

        worst = Worst()
        stage.plane.poller.timers.set(worst, stage.clock.now)
        stage.plane.poller.soon(worst, lambda: worst.on_ready(0))
        await stage.let_pass(1)
        await stage.exchange()
        assert stage.log.defects == ["RuntimeError('second')"] * 2


async def test_an_access_log_that_fails_does_not_stop_the_loop():
    """Lines may be lost, requests not."""
    async with open_stage() as stage:

        def full(_lines: bytes) -> None:
            raise OSError("no space")

        stage.plane.ledger._sink = full
        client, line = await stage.exchange()
        await client.send(GET)
        await line.read_head()
        await line.send(OK)
        await client.read_response()
        assert stage.log.defects[0] == "OSError('no space')"
        assert not stage.plane.ledger._lines


async def test_a_number_that_is_used_again_does_not_inherit_events():
    """A socket closed and another opened within one turn: what was said of the old one is not for the new."""
    async with open_stage() as stage:
        client, line = await stage.exchange()
        poller = stage.plane.poller
        told: list[int] = []

        class Heir:
            def on_ready(self, events: int) -> None:
                told.append(events)

            def on_crash(self, error: Exception) -> None:
                raise error

        class Closing:
            """Closes the other of two sockets that became ready together, and opens one with the same number."""

            def on_ready(self, events: int) -> None:
                if not done:
                    done.append(True)
                    mine, theirs = (old, new) if poller._handlers.get(old) is self else (new, old)
                    del mine
                    poller.forget(theirs)
                    os.dup2(quiet.fileno(), theirs)
                    poller.watch(theirs, Heir(), READ)

            def on_crash(self, error: Exception) -> None:
                raise error

        done: list[bool] = []
        pairs = [socket.socketpair() for _ in range(3)]
        for left, right in pairs:
            stage.stack.callback(left.close)
            stage.stack.callback(right.close)
        old, new, quiet = pairs[0][0].fileno(), pairs[1][0].fileno(), pairs[2][0]
        first, second = Closing(), Closing()
        poller.watch(old, first, READ)
        poller.watch(new, second, READ)
        pairs[0][1].send(b"x")
        pairs[1][1].send(b"x")
        await stage.settle()
        assert done
        assert told == []
        poller.forget(old)
        poller.forget(new)
        client.close()
        line.close()
