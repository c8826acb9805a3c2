"""Handing over: one frame in flight, in order, and an acknowledgement of anything else is an error."""

from __future__ import annotations

import os

import pytest

from hotswap.control.takeover.handing import Handing
from hotswap.wire.handover import FrameType, HandoverBroken


class Channel:
    """Notes what is sent; numbers begin at 5."""

    def __init__(self) -> None:
        self.sent: list[FrameType] = []
        self.done = 0
        self.handing = Handing(self._send, self._note)

    def _send(self, kind, body, descriptors) -> int:
        self.sent.append(kind)
        return 4 + len(self.sent)

    def _note(self) -> None:
        self.done += 1


def frame(kind: FrameType, *descriptors: int):
    """A frame that is written when its turn has come."""
    return lambda: (kind, {}, descriptors)


def test_each_waits_for_the_acknowledgement_of_the_one_before() -> None:
    """Also across two orders; the end is told once for all of them."""
    channel = Channel()
    channel.handing.hand([frame(FrameType.LISTENER), frame(FrameType.BACKEND)])
    channel.handing.hand([frame(FrameType.BACKEND)])
    assert channel.sent == [FrameType.LISTENER]
    channel.handing.hear_ack(5)
    channel.handing.hear_ack(6)
    assert (len(channel.sent), channel.done) == (3, 0)
    channel.handing.hear_ack(7)
    assert channel.done == 1


def test_nothing_to_hand_over_is_done_at_once() -> None:
    """A pool without backends holds nothing up."""
    channel = Channel()
    channel.handing.hand([])
    assert channel.done == 1


@pytest.mark.parametrize("seq", [4, 6])
def test_an_acknowledgement_of_something_else_is_an_error(seq: int) -> None:
    """What was not sent last cannot have arrived."""
    channel = Channel()
    channel.handing.hand([frame(FrameType.LISTENER)])
    with pytest.raises(HandoverBroken, match="instead of 5"):
        channel.handing.hear_ack(seq)


def test_the_memory_of_the_state_is_closed_once_it_is_sent() -> None:
    """The descriptors of everything else stay their owner's."""
    channel = Channel()
    state, pipe = os.open(os.devnull, os.O_RDONLY), os.open(os.devnull, os.O_RDONLY)
    channel.handing.hand([frame(FrameType.STATE, state, pipe)])
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(state)
    os.close(pipe)
