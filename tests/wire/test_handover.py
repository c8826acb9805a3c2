"""Frames of a takeover: what is written is read, and whatever is not exactly that is an error."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.wire.handover import (
    CODES,
    HEAD_BYTES,
    MAX_DESCRIPTORS,
    MAX_JSON_BYTES,
    FrameReader,
    FrameType,
    FrameWriter,
    HandoverBroken,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


def packet(
    *,
    magic: bytes = b"HSWP",
    major: int = 1,
    minor: int = 0,
    code: int = 1,
    seq: int = 0,
    descriptors: int = 0,
    text: bytes = b"{}",
    length: int | None = None,
) -> bytes:
    """A packet in which anything may be wrong."""
    size = len(text) if length is None else length
    return struct.pack("!4sBBHIHI", magic, major, minor, code, seq, descriptors, size) + text


@given(
    st.lists(
        st.tuples(
            st.sampled_from(FrameType),
            st.dictionaries(st.text(max_size=8), json_values, max_size=4),
            st.integers(0, MAX_DESCRIPTORS),
        ),
        max_size=8,
    )
)
def test_what_is_written_is_read(messages) -> None:
    """Type and body survive, with as many descriptors, and frames are numbered from 0."""
    writer, reader = FrameWriter(), FrameReader()
    for number, (kind, body, descriptors) in enumerate(messages):
        frame = reader.decode(writer.encode(kind, body, descriptors=descriptors), descriptors=descriptors)
        assert (frame.type, frame.body, frame.seq) == (kind, body, number)
        assert writer.last == number


def test_no_type_has_another_number_than_it_always_had() -> None:
    """Older versions know them by it; new ones go to the end."""
    assert " ".join(CODES) == (
        "hello welcome refuse listener state backend ack nak progress prepared commit live released draining "
        "backend-exit backend-added backend-gone release-backend backend-released hurry terminate bye stopping order"
    )
    assert list(CODES.values()) == list(range(1, 25))
    assert set(CODES) == set(FrameType)


@pytest.mark.parametrize(
    ("data", "descriptors", "said"),
    [
        (b"", 0, "shorter than the head"),
        (packet()[: HEAD_BYTES - 1], 0, "shorter than the head"),
        (packet(magic=b"HTTP"), 0, "no hotswap"),
        (packet(major=2), 0, "version 2"),
        (packet(major=0), 0, "version 0"),
        (packet(code=0), 0, "unknown type 0"),
        (packet(code=999), 0, "unknown type 999"),
        (packet(seq=1), 0, "instead of frame 0"),
        (packet(length=1), 0, "says 1 bytes"),
        (packet(length=MAX_JSON_BYTES + 1), 0, "are allowed"),
        (packet() + b"x", 0, "says 2 bytes of JSON and has 3"),
        (packet(descriptors=65), 65, "64 are allowed"),
        (packet(descriptors=2), 1, "says 2 descriptors and 1 came"),
        (packet(descriptors=0), 1, "says 0 descriptors and 1 came"),
        (packet(text=b"{"), 0, "cannot be read"),
        (packet(text=b"\xff\xfe"), 0, "cannot be read"),
        (packet(text=b"[" * 60000), 0, "cannot be read"),
        (packet(text=b"[]"), 0, "no object"),
        (packet(text=b""), 0, "cannot be read"),
    ],
)
def test_a_malformed_frame_is_an_error_that_says_what_is_wrong(data, descriptors, said) -> None:
    """Nothing is guessed, and the sentence names the fault."""
    with pytest.raises(HandoverBroken, match=said):
        FrameReader().decode(data, descriptors=descriptors)


@given(st.binary(max_size=200), st.integers(0, 70))
def test_no_packet_whatever_raises_anything_else(data, descriptors) -> None:
    """Bytes of any kind are a frame or `HandoverBroken`."""
    try:
        FrameReader().decode(data, descriptors=descriptors)
    except HandoverBroken:
        pass


def test_a_lost_frame_shows_in_the_next_one() -> None:
    """A gap in the numbers ends the conversation; so does a frame that comes twice."""
    writer, reader = FrameWriter(), FrameReader()
    first, _lost, third = (writer.encode(FrameType.ACK) for _ in range(3))
    reader.decode(first)
    with pytest.raises(HandoverBroken, match="frame 2"):
        reader.decode(third)
    with pytest.raises(HandoverBroken, match="frame 0"):
        reader.decode(first)


def test_a_higher_minor_version_is_read() -> None:
    """Newer code may add keys and types are told by number, so its frames are not refused."""
    frame = FrameReader().decode(packet(minor=7, text=b'{"unheard_of":1}'))
    assert frame.body == {"unheard_of": 1}


@pytest.mark.parametrize(
    ("body", "descriptors"),
    [({"k": "x" * MAX_JSON_BYTES}, 0), ({}, MAX_DESCRIPTORS + 1), ({}, -1), ({"k": float("nan")}, 0)],
)
def test_what_cannot_be_a_frame_is_not_written(body, descriptors) -> None:
    """And it takes no number, so that what follows is still read."""
    writer, reader = FrameWriter(), FrameReader()
    with pytest.raises(ValueError, match=r"allowed|JSON"):
        writer.encode(FrameType.STATE, body, descriptors=descriptors)
    assert reader.decode(writer.encode(FrameType.STATE)).seq == 0


def test_the_longest_body_fits() -> None:
    """64 KiB are allowed, not almost 64 KiB."""
    body = {"k": "x" * (MAX_JSON_BYTES - len(json.dumps({"k": ""}, separators=(",", ":"))))}
    assert FrameReader().decode(FrameWriter().encode(FrameType.STATE, body)).body == body


def test_values_are_asked_for_by_their_type() -> None:
    """A frame with another type of value than it must have is as broken as one with none."""
    frame = FrameReader().decode(packet(text=b'{"n":1,"t":"x","b":true}'))
    assert (frame.number("n"), frame.text("t")) == (1, "x")
    for ask, key in ((frame.number, "t"), (frame.number, "b"), (frame.number, "none"), (frame.text, "n")):
        with pytest.raises(HandoverBroken, match=key):
            ask(key)
