"""Minimal ASGI toolkit of the demo: types, one request, and its responses.

ASGI 3 gives an application a `scope`, a way to `receive` events and a way to `send` them. A `Request` wraps
the three for one HTTP request; handlers read the body through it and answer with `respond` or `stream`.
Bodies are bounded by the reader: `json_body` refuses more than `JSON_LIMIT` bytes, `chunks` hands over what
comes without keeping it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

JSON_LIMIT = 64 * 1024
"""Bytes of a JSON body that are read at most."""


class HttpError(Exception):
    """A request that is answered with this status and text."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class ClientGone(Exception):
    """The client disconnected before its request was complete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request with its response."""

    scope: Scope
    receive: Receive
    send: Send

    @property
    def method(self) -> str:
        """The method, in capitals."""
        return str(self.scope["method"])

    @property
    def path(self) -> str:
        """The decoded path."""
        return str(self.scope["path"])

    def header(self, name: bytes) -> str | None:
        """The value of the first field called `name` (lower case), or None."""
        for key, value in self.scope["headers"]:
            if key == name:
                return bytes(value).decode("latin-1")
        return None

    def number(self, name: str, default: float, *, most: float) -> float:
        """A number from the query string, between 0 and `most`.

        Raises:
            HttpError: It is not a number, or out of bounds.
        """
        given = parse_qs(bytes(self.scope["query_string"]).decode("latin-1")).get(name)
        if given is None:
            return default
        try:
            number = float(given[-1])
        except ValueError:
            number = -1.0
        if not 0 <= number <= most:
            raise HttpError(HTTPStatus.BAD_REQUEST, f"{name} must be a number from 0 to {most:g}")
        return number

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body, piece by piece as it arrives.

        Raises:
            ClientGone: The client left before the body was complete.
        """
        more = True
        while more:
            event = await self.receive()
            if event["type"] == "http.disconnect":
                raise ClientGone
            more = bool(event.get("more_body", False))
            piece = bytes(event.get("body", b""))
            if piece:
                yield piece

    async def json_body(self) -> dict[str, Any]:
        """The body as a JSON object.

        Raises:
            HttpError: It is too large, or not a JSON object.
            ClientGone: The client left before the body was complete.
        """
        body = bytearray()
        async for piece in self.chunks():
            body += piece
            if len(body) > JSON_LIMIT:
                raise HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {JSON_LIMIT} bytes")
        try:
            value = json.loads(body)
        except ValueError:
            raise HttpError(HTTPStatus.BAD_REQUEST, "the body is not JSON") from None
        if not isinstance(value, dict):
            raise HttpError(HTTPStatus.BAD_REQUEST, "the body is not a JSON object")
        return value

    async def respond(self, body: bytes, *, content_type: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        """Answer with a counted body."""
        headers = [
            (b"content-type", content_type.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        await self.send({"type": "http.response.start", "status": int(status), "headers": headers})
        await self.send({"type": "http.response.body", "body": b"" if self.method == "HEAD" else body})

    async def respond_json(self, value: object, *, status: HTTPStatus = HTTPStatus.OK) -> None:
        """Answer with `value` as JSON."""
        body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        await self.respond(body, content_type="application/json", status=status)

    async def stream(self, pieces: AsyncIterator[bytes], *, content_type: str) -> None:
        """Answer with a body of unknown length, sent as it is made."""
        headers = [(b"content-type", content_type.encode()), (b"cache-control", b"no-store")]
        await self.send({"type": "http.response.start", "status": 200, "headers": headers})
        if self.method != "HEAD":
            async for piece in pieces:
                await self.send({"type": "http.response.body", "body": piece, "more_body": True})
        await self.send({"type": "http.response.body", "body": b""})
