"""Frames of WebSocket, followed without being read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.core.http.messages import RequestHead
from hotswap.wire.websocket import FrameTracker, accept_of, close_frame, is_handshake


def frame(size: int, *, opcode: int = 2, masked: bool = False) -> bytes:
    """A frame with a payload of that size."""
    mask = 0x80 if masked else 0
    if size < 126:
        head = bytes((0x80 | opcode, mask | size))
    elif size < 65536:
        head = bytes((0x80 | opcode, mask | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, mask | 127)) + size.to_bytes(8, "big")
    return head + (b"mask" if masked else b"") + b"\x88" * size


SIZES = st.sampled_from([0, 1, 125, 126, 127, 300, 65535, 65536, 70000])


@given(st.lists(st.tuples(SIZES, st.booleans()), max_size=4), st.lists(st.integers(1, 70010), max_size=30))
def test_boundaries_are_found_however_the_bytes_are_cut(frames, cuts):
    """Between two frames, and nowhere else."""
    data = b""
    boundaries = {0}
    for size, masked in frames:
        data += frame(size, masked=masked)
        boundaries.add(len(data))
    tracker = FrameTracker()
    place = 0
    for step in [*cuts, len(data)]:
        piece = data[place : place + step]
        assert tracker.follow(piece) == len(piece)
        place += len(piece)
        assert tracker.between_frames == (place in boundaries)
        assert not tracker.closed


@pytest.mark.parametrize("step", [1, 2, 3, 100])
def test_it_stops_at_the_first_boundary(step):
    """And says how far it got."""
    data = frame(130) + frame(2)
    tracker = FrameTracker()
    tracker.follow(data[:step])
    assert step + tracker.follow(data[step:], stop=True) == len(frame(130))
    assert tracker.between_frames
    assert tracker.follow(frame(5), stop=True) == 0


def test_a_close_frame_is_noticed():
    """Whoever closed may not be followed by another close."""
    tracker = FrameTracker()
    tracker.follow(close_frame(1000))
    assert tracker.closed
    assert tracker.between_frames


@pytest.mark.parametrize(
    ("data", "tiny"),
    [
        (frame(0) * 100, True),
        (frame(5) * 100, True),
        (frame(0, masked=True) * 100, True),
        (frame(100) * 10, False),
        (frame(70_000), False),
    ],
    ids=["empty", "short", "masked", "long", "very long"],
)
def test_it_tells_frames_that_are_much_work(data: bytes, tiny: bool):
    """Of what came last: whoever reads takes less of it at a time."""
    tracker = FrameTracker()
    tracker.follow(data)
    assert tracker.tiny_pieces == tiny
    tracker.follow(frame(1000))
    assert not tracker.tiny_pieces


def handshake(**changed: bytes | None) -> RequestHead:
    """A valid head, with changes."""
    head = RequestHead()
    head.method = changed.get("method") or b"GET"
    head.upgrade = changed.get("upgrade", b"websocket")
    fields = {b"Sec-WebSocket-Version": b"13", b"Sec-WebSocket-Key": b"dGhlIHNhbXBsZSBub25jZQ=="}
    fields[b"Sec-WebSocket-Version"] = changed.get("version") or b"13"
    fields[b"Sec-WebSocket-Key"] = changed.get("key") or b"dGhlIHNhbXBsZSBub25jZQ=="
    head.fields = list(fields.items())
    return head


@pytest.mark.parametrize(
    ("changed", "valid"),
    [
        ({}, True),
        ({"method": b"POST"}, False),
        ({"upgrade": None}, False),
        ({"upgrade": b"h2c"}, False),
        ({"version": b"8"}, False),
        ({"key": b"short"}, False),
    ],
)
def test_a_handshake_is_recognised(changed, valid):
    """Method, version and key (P8)."""
    assert is_handshake(handshake(**changed)) is valid


def test_a_key_is_answered_as_the_standard_shows():
    """The example of RFC 6455 1.3."""
    assert accept_of(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
