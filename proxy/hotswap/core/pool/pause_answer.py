"""Answer that requests for a paused pool get at once, instead of being held."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

MAX_PAGE_BYTES: Final = 1024 * 1024
"""Bytes of a page, in UTF-8; the same for those of `error_pages`."""
STATUSES: Final = range(400, 600)
"""The statuses of the proxy's own errors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseAnswer:
    """What is answered.

    Attributes:
        status: from 400 to 599.
        page: HTML in UTF-8 for clients that accept it; empty: that of the pool's `error_pages`, or the proxy's own.
    """

    status: int = 503
    page: bytes = b""

    def tell(self) -> dict[str, Any]:
        """Say for JSON what is answered, without the page itself."""
        return {"status": self.status, "page": bool(self.page)}

    def write(self) -> dict[str, Any]:
        """Write it whole, for another process."""
        return {"status": self.status, "page": self.page.decode()}


def read_pause_answer(value: object) -> PauseAnswer | None:
    """Read what `PauseAnswer.write` wrote; None of None.

    Raises:
        ValueError: it is something else.
    """
    match value:
        case None:
            return None
        case {"status": int(status), "page": str(page)} if status in STATUSES:
            written = page.encode()
            if len(written) <= MAX_PAGE_BYTES:
                return PauseAnswer(status=status, page=written)
    raise ValueError("the answer of a pause has a status from 400 to 599 and a page of at most 1 MiB")
