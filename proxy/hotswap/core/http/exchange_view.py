"""An exchange in flight, as the admin API shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

SHOWN = 10
"""How many are named where exchanges are listed; the oldest, because they are what is waited for."""

LONGEST_LINE = 200
"""Characters of a request line that are shown; targets may be as long as a head."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeView:
    """Request, client and progress of an exchange.

    Attributes:
        request_line: method and target, as `shorten` gives them.
        client: address of the client.
        age: seconds since its first byte.
        request_bytes: of the body, so far.
        response_bytes: of the body, so far.
        tunnel: it has become a WebSocket or another tunnel; the bytes are those that went through it.
    """

    request_line: str
    client: str
    age: float
    request_bytes: int
    response_bytes: int
    tunnel: bool

    def to_json(self) -> dict[str, object]:
        """Give it as plain JSON values; the keys are the names of the fields."""
        return {**asdict(self), "age": round(self.age, 3)}


def shorten(line: str) -> str:
    """Give a request line as it can be shown."""
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 1]}…"


def tell_exchanges(views: Sequence[ExchangeView]) -> list[dict[str, object]]:
    """Give those that are shown as JSON, in the order they have."""
    return [view.to_json() for view in views[:SHOWN]]
