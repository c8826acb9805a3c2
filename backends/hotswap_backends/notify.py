"""Readiness notifications to the supervisor: sd_notify(3) with the standard library alone.

    from hotswap_backends.notify import notifying_asgi

    app = notifying_asgi(app)    # READY=1 when the app's startup is over, STOPPING=1 when its shutdown begins

With `ready = "notify"` the proxy sets `NOTIFY_SOCKET` and sends no request before `READY=1`. Without that
variable every function here does nothing, so an app may call them wherever it runs. Nothing here raises
because of the other side, and nothing waits longer than a second.
"""

from __future__ import annotations

import atexit
import errno as errno_module
import os
import socket
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Message, Receive, Send], Awaitable[None]]
WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_SEND_TIMEOUT = 1.0
_MAX_STATUS = 1000


def notify(*assignments: str) -> bool:
    """Send assignments such as "READY=1" as one message.

    Returns:
        Whether they were sent; False also when nobody asked for them.
    """
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return False
    # A leading @ stands for the NUL of the abstract namespace.
    address = "\0" + path[1:] if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(_SEND_TIMEOUT)
            sender.sendto("\n".join(assignments).encode("utf-8", "replace"), address)
    except OSError:
        return False
    return True


def ready(text: str = "") -> bool:
    """Send READY=1, with a status text where there is one."""
    return notify("READY=1", *_status(text))


def status(text: str) -> bool:
    """Send a status text."""
    return notify(*_status(text) or ("STATUS=",))


def stopping(text: str = "") -> bool:
    """Send STOPPING=1."""
    return notify("STOPPING=1", *_status(text))


def cannot_serve(reason: int | OSError, text: str = "") -> bool:
    """Send ERRNO=: this process will never be ready, so that the proxy need not wait for its deadline.

    Args:
        reason: an errno, or the error that carries one.
        text: what happened, in words.
    """
    if isinstance(reason, OSError):
        text = text or str(reason)
        reason = reason.errno or errno_module.EIO
    return notify(f"ERRNO={reason}", *_status(text))


def _status(text: str) -> tuple[str, ...]:
    line = " ".join(text.split())[:_MAX_STATUS]
    return (f"STATUS={line}",) if line else ()


def notifying_asgi(app: AsgiApp) -> AsgiApp:
    """Wrap an ASGI app so that its lifespan is reported.

    READY=1 when its startup is complete, ERRNO when its startup failed, STOPPING=1 when its shutdown begins.
    An app that does not know lifespan is ready as soon as it has said so. The server must run the lifespan
    protocol (each of them does, unless told not to).
    """

    async def reporting(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        started = False

        async def reporting_send(message: Message) -> None:
            nonlocal started
            kind = message["type"]
            # The server has to hear it first: it accepts from the socket only after that.
            await send(message)
            if kind == "lifespan.startup.complete":
                started = True
                ready()
            elif kind == "lifespan.startup.failed":
                started = True
                cannot_serve(errno_module.EIO, message.get("message", "") or "the app's startup failed")

        async def reporting_receive() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                stopping()
            return message

        try:
            await app(scope, reporting_receive, reporting_send)
        except Exception:
            # An exception before an answer means "lifespan is not supported" (ASGI specification, Lifespan).
            if not started:
                ready()
            raise

    return reporting


def notifying_wsgi(app: WsgiApp) -> WsgiApp:
    """Report a WSGI app: READY=1 now, STOPPING=1 when the interpreter ends.

    WSGI knows no startup, so ready means that the module which calls this has been imported up to here: make
    it the last thing that the module does. The app itself is given back unchanged.
    """
    ready()
    atexit.register(stopping)
    return app
