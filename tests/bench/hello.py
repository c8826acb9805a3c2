"""The app that is rolled under load: the smallest ASGI app there is, so that the proxy is what is seen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

_BODY = b"Hello from behind the proxy.\n"
_FIELDS = [(b"content-type", b"text/plain"), (b"content-length", str(len(_BODY)).encode())]


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Answer every request with 200 and a line; agree to start and to stop."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": _FIELDS})
        await send({"type": "http.response.body", "body": _BODY})
