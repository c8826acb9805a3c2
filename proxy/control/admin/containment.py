"""The wall around the admin application: a defect in a call becomes a 500 and a line in the log."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.typing import FilteringBoundLogger

from proxy.control.admin.problems import ProblemResponse

ALWAYS = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
]
"""Fields of every answer: it is the state of a moment, is what it says it is, and no page of others may embed it."""


class Containment:
    """ASGI middleware that lets nothing but cancellation out."""

    def __init__(self, app: ASGIApp, log: FilteringBoundLogger) -> None:
        """Stand around an application, and tell the log what it raises."""
        self._app = app
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        begun = False

        async def send_marked(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message["headers"] = [*message.get("headers", []), *ALWAYS]
            await send(message)

        try:
            await self._app(scope, receive, send_marked)
        except Exception as error:
            self._log.error("admin.failed", method=scope.get("method"), path=scope.get("path"), exc_info=error)
            if scope["type"] == "http" and not begun:
                problem = ProblemResponse(500, "internal", "the call failed inside the proxy; its log says why")
                await problem(scope, receive, send_marked)
