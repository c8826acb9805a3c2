"""What can go wrong for a client, told apart, and the counts of it.

The kinds are those that somebody reading "0 failed requests" must be able to ask for one by one. Everything
that is not provably one of them is `other`: no error is ever dropped.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

import h11
import httpx
import trio
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

DETAILS = 20
"""How many troubles of one count are kept in words."""


class Trouble(StrEnum):
    """One way in which an exchange can fail a client."""

    REFUSED = "refused"
    RESET = "reset"
    TIMEOUT = "timeout"
    WRONG_BODY = "wrong body"
    SERVER_ERROR = "5xx"
    OTHER = "other"


class WrongBody(Exception):
    """A complete answer, but not the one that was due."""


class CutShort(Exception):
    """The connection ended where more was due."""


class BadStatus(Exception):
    """A complete answer with a status that was not due."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"status {status}: {body[:200]!r}")
        self.status = status


def classify(error: BaseException) -> Trouble:
    """Tell which kind of trouble an exception is."""
    match error:
        case ConnectionRefusedError() | FileNotFoundError() | httpx.ConnectError():
            return Trouble.REFUSED
        case trio.TooSlowError() | httpx.TimeoutException():
            return Trouble.TIMEOUT
        case WrongBody():
            return Trouble.WRONG_BODY
        case BadStatus(status=status):
            return Trouble.SERVER_ERROR if status >= 500 else Trouble.OTHER
        case InvalidStatus():
            return Trouble.SERVER_ERROR if error.response.status_code >= 500 else Trouble.OTHER
        case CutShort() | trio.BrokenResourceError() | ConnectionError() | EOFError() | ConnectionClosed():
            return Trouble.RESET
        case httpx.NetworkError() | httpx.RemoteProtocolError():
            return Trouble.RESET
        case InvalidHandshake() if isinstance(error.__cause__, EOFError):
            return Trouble.RESET
        case h11.RemoteProtocolError():
            return Trouble.OTHER
        case _:
            return Trouble.OTHER


@dataclass(frozen=True, slots=True)
class Delay:
    """How long a client waited for what was the other side's turn: when it began, and for how many seconds."""

    began: float
    seconds: float


@dataclass(slots=True)
class Count:
    """What the clients of one kind lived through.

    `done` counts exchanges that were right in every respect; `connections` those that were opened; `announced`
    how often a response said that it was the last on its connection; `ended` how often the other side closed an idle
    connection unannounced, which the protocol allows and which is a race; `generations` are those of the backends that
    said who they are.
    """

    kind: str
    done: int = 0
    connections: int = 0
    announced: int = 0
    ended: int = 0
    troubles: Counter[Trouble] = field(default_factory=Counter)
    details: list[str] = field(default_factory=list)
    delays: list[Delay] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    generations: set[int] = field(default_factory=set)

    def trouble(self, error: BaseException, *, at: float) -> None:
        """Count one failure, or each of several that came together."""
        if isinstance(error, BaseExceptionGroup):
            for each in error.exceptions:
                self.trouble(each, at=at)
            return
        kind = classify(error)
        self.troubles[kind] += 1
        if len(self.details) < DETAILS:
            self.details.append(f"{self.kind} at {at:.3f}: {kind}: {type(error).__name__}: {error}")

    def __str__(self) -> str:
        slowest = max((delay.seconds for delay in self.delays), default=0.0)
        troubles = ", ".join(f"{kind} {self.troubles[kind]}" for kind in Trouble)
        return (
            f"{self.kind:26} done {self.done:5}  connections {self.connections:4}  announced {self.announced}  "
            f"ended {self.ended}  slowest {slowest:.3f} s  {troubles}"
        )
