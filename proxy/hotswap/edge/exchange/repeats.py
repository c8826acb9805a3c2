"""Answers that are the same for the same bytes of a request, for a moment: those of small files that are in memory.

A kept-alive client that asks for what somebody else has just asked for, byte for byte, is answered without its request
being parsed and routed again, which is two thirds of the work. Nothing is lost by that: whatever decides about such a
request is in those bytes, and when something else changes (routes, listeners, releases), all is forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hotswap.edge.exchange.exchange import Exchange

KEPT_REQUEST_BYTES: Final = 2048
"""Longer requests are parsed each time."""
KEPT_ANSWERS_BYTES: Final = 8 * 1024 * 1024
"""Bytes of requests and answers that are kept. When they are more all are forgotten, and the busy ones soon back."""
_OVERHEAD: Final = 1024


@dataclass(frozen=True, slots=True)
class Repeat:
    """One answer.

    Attributes:
        data: all its bytes.
        exchange: the one that was answered so, which has ended; it is recorded again for each of the others.
        until: so long it holds, in seconds of the data plane's clock.
    """

    data: bytes
    exchange: Exchange
    until: float


class Repeats(dict[bytes, Repeat]):
    """Answers by the bytes of their request.

    Attributes:
        enabled: there are routes whose answers are kept; else nobody looks.
    """

    __slots__ = ("_kept", "enabled")

    def __init__(self) -> None:
        super().__init__()
        self.enabled = False
        self._kept = 0

    def learn(self, request: bytes, repeat: Repeat) -> None:
        """Keep an answer."""
        if request not in self:  # else it is one of the same size, or soon over
            self._kept += len(request) + len(repeat.data) + _OVERHEAD
        if self._kept > KEPT_ANSWERS_BYTES:
            self.forget()
        else:
            self[request] = repeat

    def forget(self) -> None:
        """Forget all."""
        self.clear()
        self._kept = 0
