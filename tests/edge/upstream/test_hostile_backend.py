"""What backends answer, against a data plane: relayed in our framing, 502, or visibly cut short (P7)."""

from __future__ import annotations

import pytest
import trio

from tests.support.plane import open_plane
from tests.support.raw_client import open_client
from tests.support.recording_backend import Recorded, RecordingBackend, open_recording_backend
from tests.wire.feeding import cut
from tests.wire.payloads import responses
from tests.wire.payloads.responses import Relayed

REQUEST = b"%b / HTTP/1.1\r\nHost: example.org\r\n\r\n"


def ending(raw: bytes, *, bytewise: bool = False) -> RecordingBackend:
    """A backend that answers with these bytes and closes."""
    return RecordingBackend(answer=lambda recorded: raw, ends=True, bytewise=bytewise)


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
@pytest.mark.parametrize("case", responses.RELAYED, ids=lambda case: case.row)
async def test_good_answers_reach_the_client_in_our_framing(case: Relayed, bytewise: bool) -> None:
    """Status, body, end-to-end fields and interim responses; the next request is served as well."""
    async with (
        open_recording_backend(ending(case.raw, bytewise=bytewise)) as (backend, address),
        open_plane(address) as running,
        open_client(running.port) as client,
    ):
        for _ in range(2):
            with trio.fail_after(5):
                client.received.clear()
                await client.send([REQUEST % case.method])
                (answer,) = await client.wait_answers([case.method])
            assert (answer.status, answer.body, answer.complete) == (case.status, case.body, True)
            assert tuple(answer.interim) == case.interim
            names = [name for name, _ in answer.fields]
            assert not set(names) & set(case.absent)
            wanted = [name for name, _ in case.fields]
            assert [named for named in answer.fields if named[0] in wanted] == list(case.fields)
            assert names.count(b"content-length") + names.count(b"transfer-encoding") <= 1
        assert running.log.defects == []
        assert len(backend.requests) == 2


@pytest.mark.parametrize("row", responses.UNREADABLE)
async def test_an_answer_that_cannot_be_read_is_502(row: str) -> None:
    """Whatever the backend sent, the client sees our own answer and can go on."""
    async with (
        open_recording_backend(ending(responses.UNREADABLE[row])) as (_, address),
        open_plane(address) as running,
        open_client(running.port) as client,
    ):
        with trio.fail_after(5):
            await client.send([REQUEST % b"POST"])
            (answer,) = await client.wait_answers([b"POST"])
        assert (answer.status, answer.body) == (502, b"502 Bad Gateway\n")
        assert running.log.defects == []
        assert running.in_flight == 0


@pytest.mark.parametrize("row", responses.CUT_SHORT)
async def test_an_answer_that_is_cut_short_does_not_look_whole(row: str) -> None:
    """The connection ends before the length is reached or without the last chunk, or nothing was sent yet: 502."""
    async with (
        open_recording_backend(ending(responses.CUT_SHORT[row])) as (_, address),
        open_plane(address) as running,
        open_client(running.port) as client,
    ):
        with trio.fail_after(5):
            await client.send([REQUEST % b"GET"])
            await client.wait_end()
            (answer,) = await client.wait_answers([b"GET"])
        assert answer.status == 502 or (not answer.complete and b"hello".startswith(answer.body))
        assert running.log.defects == []
        assert running.in_flight == 0


async def test_bytes_behind_an_answer_are_never_another_answer() -> None:
    """A backend that says more than it was asked loses its connection; the next client gets its own answer."""

    def talkative(recorded: Recorded) -> bytes:
        body = recorded.request.target
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%bHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil" % (
            len(body),
            body,
        )

    async with (
        open_recording_backend(RecordingBackend(answer=talkative)) as (backend, address),
        open_plane(address) as running,
    ):
        for number in range(3):
            target = b"/%d" % number
            with trio.fail_after(5):
                async with open_client(running.port) as client:
                    await client.send([b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % target])
                    (answer,) = await client.wait_answers([b"GET"])
            assert (answer.status, answer.body) == (200, target)
        assert len(backend.received) == 3
        assert running.log.defects == []


@pytest.mark.parametrize("pieces", [1, 2])
async def test_the_framing_of_a_head_answer_never_reaches_the_next_exchange(pieces: int) -> None:
    """A body behind the answer to HEAD is dropped with its connection."""
    raw = responses.OK + b"Content-Length: 5\r\n\r\nhello"
    backend = RecordingBackend(
        answer=lambda recorded: (
            raw if recorded.request.method == b"HEAD" else responses.OK + b"Content-Length: 2\r\n\r\nok"
        ),
        bytewise=pieces == 2,
    )
    async with (
        open_recording_backend(backend) as (_, address),
        open_plane(address) as running,
        open_client(running.port) as client,
    ):
        with trio.fail_after(5):
            for method in (b"HEAD", b"GET", b"HEAD", b"GET"):
                client.received.clear()
                await client.send(cut(REQUEST % method) if pieces == 2 else [REQUEST % method])
                (answer,) = await client.wait_answers([method])
                assert (answer.status, answer.body) == (200, b"" if method == b"HEAD" else b"ok")
