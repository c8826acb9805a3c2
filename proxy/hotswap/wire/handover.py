"""Frames of the channel between two proxy processes during a takeover.

One frame is one packet of a SOCK_SEQPACKET socket, so there is no stream to be cut wrongly and descriptors
belong to exactly the frame they came with:

    magic "HSWP" | major | minor | type | seq | descriptors | length | JSON object

Everything that can be wrong with a frame is an error, never a guess: the two sides run different code, and a
frame that is half understood would end in two owners of one backend, or none. Numbers that follow each other
without a gap show that nothing was lost; a major version that differs means other frames altogether. What is
too big for `MAX_JSON_BYTES` travels as a descriptor of a sealed memory file.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from hotswap.core.errors import ProxyError

MAGIC: Final = b"HSWP"
MAJOR: Final = 1
"""Version of the frame itself; another one is refused."""
MINOR: Final = 0
"""Version of what frames carry; a higher one may have keys that are not known here, and they are ignored."""

MAX_JSON_BYTES: Final = 64 * 1024
MAX_DESCRIPTORS: Final = 64
"""A quarter of what the kernel takes in one message, and half of the least `RLIMIT_NOFILE` that is met in practice."""

_HEAD: Final = struct.Struct("!4sBBHIHI")

HEAD_BYTES: Final = _HEAD.size
MAX_FRAME_BYTES: Final = HEAD_BYTES + MAX_JSON_BYTES

_LAST_SEQ: Final = 2**32 - 1


class FrameType(StrEnum):
    """Type of a frame; which side sends it, and when, is in the tables of a takeover, in `hotswap.core`.

    New types go to the end, and none is taken out, because `CODES` numbers them in this order.
    """

    HELLO = "hello"
    WELCOME = "welcome"
    REFUSE = "refuse"
    LISTENER = "listener"
    STATE = "state"
    BACKEND = "backend"
    ACK = "ack"
    NAK = "nak"
    PROGRESS = "progress"
    PREPARED = "prepared"
    COMMIT = "commit"
    LIVE = "live"
    RELEASED = "released"
    DRAINING = "draining"
    BACKEND_EXIT = "backend-exit"
    BACKEND_ADDED = "backend-added"
    BACKEND_GONE = "backend-gone"
    RELEASE_BACKEND = "release-backend"
    BACKEND_RELEASED = "backend-released"
    HURRY = "hurry"
    TERMINATE = "terminate"
    BYE = "bye"
    STOPPING = "stopping"
    ORDER = "order"


CODES: Final[Mapping[FrameType, int]] = MappingProxyType({kind: number for number, kind in enumerate(FrameType, 1)})
"""The number of each type on the wire: its place above. A number is never given to another type."""

_TYPES: Final[Mapping[int, FrameType]] = MappingProxyType({code: kind for kind, code in CODES.items()})


class HandoverBroken(ProxyError):
    """A packet is not a frame, or not the next one; nothing after it can be trusted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One message of the channel.

    Attributes:
        type: what it says.
        seq: its number among the frames of its sender, from 0.
        body: the rest, a JSON object.
    """

    type: FrameType
    seq: int
    body: Mapping[str, Any] = field(default_factory=dict)

    def text(self, key: str) -> str:
        """The text under a key.

        Raises:
            HandoverBroken: it is something else, or missing.
        """
        value = self.body.get(key)
        if not isinstance(value, str):
            raise HandoverBroken(f"a {self.type} frame has {value!r} as {key}, not text")
        return value

    def number(self, key: str) -> int:
        """The whole number under a key.

        Raises:
            HandoverBroken: it is something else, or missing.
        """
        value = self.body.get(key)
        if not isinstance(value, int) or isinstance(value, bool):
            raise HandoverBroken(f"a {self.type} frame has {value!r} as {key}, not a whole number")
        return value


def fits(body: Mapping[str, Any] | None) -> bool:
    """Whether a body fits into one frame.

    Raises:
        ValueError: it is no JSON.
    """
    return len(_write(body)) <= MAX_JSON_BYTES


def _write(body: Mapping[str, Any] | None) -> bytes:
    return json.dumps(body or {}, separators=(",", ":"), allow_nan=False).encode()


class FrameWriter:
    """Encodes and numbers the frames of one side."""

    __slots__ = ("_next",)

    def __init__(self) -> None:
        self._next = 0

    def encode(self, kind: FrameType, body: Mapping[str, Any] | None = None, *, descriptors: int = 0) -> bytes:
        """Encode the next frame, with which so many descriptors are sent; the body becomes a JSON object.

        Raises:
            ValueError: it would be longer than a frame may be, or its body is no JSON.
        """
        text = _write(body)
        if len(text) > MAX_JSON_BYTES:
            raise ValueError(f"a {kind} frame of {len(text)} bytes of JSON; {MAX_JSON_BYTES} are allowed")
        if not 0 <= descriptors <= MAX_DESCRIPTORS:
            raise ValueError(f"a {kind} frame with {descriptors} descriptors; {MAX_DESCRIPTORS} are allowed")
        head = _HEAD.pack(MAGIC, MAJOR, MINOR, CODES[kind], self._next, descriptors, len(text))
        self._next += 1
        return head + text

    @property
    def last(self) -> int:
        """Number of the last frame encoded; -1 before the first."""
        return self._next - 1


class FrameReader:
    """Decodes the frames of the other side and checks their order."""

    __slots__ = ("_next",)

    def __init__(self) -> None:
        self._next = 0

    def decode(self, packet: bytes, *, descriptors: int = 0) -> Frame:
        """Decode one whole packet, with which so many descriptors came.

        Raises:
            HandoverBroken: it is no frame, not the next one, or does not fit its descriptors.
        """
        if len(packet) < HEAD_BYTES:
            raise HandoverBroken(f"a packet of {len(packet)} bytes is shorter than the head of a frame")
        magic, major, _, code, seq, said, length = _HEAD.unpack_from(packet)
        if magic != MAGIC:
            raise HandoverBroken(f"a packet begins with {magic!r}: the other side is no hotswap")
        if major != MAJOR:
            raise HandoverBroken(f"the other side writes frames of version {major}, this side reads version {MAJOR}")
        kind = _TYPES.get(code)
        if kind is None:
            raise HandoverBroken(f"a frame of the unknown type {code}")
        if seq != self._next:
            raise HandoverBroken(f"frame {seq} ({kind}) came instead of frame {self._next}")
        if length > MAX_JSON_BYTES:
            raise HandoverBroken(f"a {kind} frame with {length} bytes of JSON; {MAX_JSON_BYTES} are allowed")
        if length != len(packet) - HEAD_BYTES:
            raise HandoverBroken(f"a {kind} frame says {length} bytes of JSON and has {len(packet) - HEAD_BYTES}")
        if said > MAX_DESCRIPTORS:
            raise HandoverBroken(f"a {kind} frame says {said} descriptors; {MAX_DESCRIPTORS} are allowed")
        if said != descriptors:
            raise HandoverBroken(f"a {kind} frame says {said} descriptors and {descriptors} came with it")
        try:
            body = json.loads(packet[HEAD_BYTES:])
        except (ValueError, RecursionError) as error:
            raise HandoverBroken(f"a {kind} frame whose JSON cannot be read: {error}") from error
        if not isinstance(body, dict):
            raise HandoverBroken(f"a {kind} frame whose JSON is no object")
        self._next = min(self._next + 1, _LAST_SEQ)
        return Frame(type=kind, seq=seq, body=body)
