"""HTTP/1.1 responses read from bytes, as strictly as requests: a backend that contradicts itself is not believed.

Items come out as from `proxy.wire.http1`: heads (informational ones first), pieces of the body, `END`. What is wrong is
left in `error` once the items that precede it are out.
"""

from __future__ import annotations

from typing import Final

import httptools

from proxy.core.errors import UpstreamBroken
from proxy.core.messages import RESPONSE_SPECIAL, Field, ResponseHead, parse_tokens
from proxy.wire.http1 import END, End

UNTIL_CLOSE: Final = 1 << 62
"""Given by `ResponseParser.detach` for a body that only the end of the connection ends."""

ResponseItem = ResponseHead | bytes | End


class ResponseParser:
    """Reads the responses of one backend connection, one for each request that was sent on it.

    Raises nothing: like `RequestParser`, it leaves what is wrong in `error` (an `UpstreamBroken`).
    """

    __slots__ = (
        "_done",
        "_fields",
        "_head",
        "_head_bytes",
        "_items",
        "_left",
        "_no_body",
        "_parser",
        "_reason",
        "_special",
        "error",
        "upgraded",
    )

    def __init__(self) -> None:
        self._items: list[ResponseItem] = []
        self.error: UpstreamBroken | None = None
        self.upgraded: bytes | None = None
        self._no_body = False
        self._restart()

    def _restart(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._head: ResponseHead | None = None
        self._fields: list[Field] = []
        self._special: list[Field] | None = None
        self._reason = b""
        self._head_bytes = 0
        self._left = 0
        self._done = False

    def expect(self, *, no_body: bool) -> None:
        """Say what was asked: the answer to HEAD has a length and no body, which its bytes do not tell."""
        self._no_body = no_body

    def feed(self, data: bytes | memoryview) -> list[ResponseItem]:
        """Read what the backend sent next; see the module for what comes out."""
        items = self._items = []
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as error:
            self.upgraded = bytes(data[error.args[0] :])
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            if isinstance(cause, _Stop):
                self._end_without_body(bytes(data))
            else:
                self.error = cause if isinstance(cause, UpstreamBroken) else UpstreamBroken("unreadable response")
        except httptools.HttpParserError as error:
            self.error = UpstreamBroken(f"malformed response: {error}")
        if self._head is None and items == []:
            self._head_bytes += len(data)
            if self._head_bytes > 256 * 1024:
                self.error = UpstreamBroken("the response's head is too large")
        return items

    def _end_without_body(self, data: bytes) -> None:
        """Start afresh after a head whose body llhttp would wait for; what follows it at once makes it the last."""
        head = self._head
        end = data.find(b"\r\n\r\n")
        if head is not None and 0 <= end < len(data) - 4:
            head.keep_alive = False
        self._restart()

    def detach(self) -> int:
        """Take a counted body, or one that the end of the connection ends, out of the parser's hands.

        Returns:
            Bytes still to come, `UNTIL_CLOSE`, or 0 when the body is chunked or complete.
        """
        head = self._head
        if head is None or self._done or head.complete or head.chunked or head.status < 200:
            return 0
        left = UNTIL_CLOSE if head.content_length is None else self._left
        if left:
            self._restart()
        return left

    def on_message_begin(self) -> None:
        """A message starts."""
        if self._head is not None:
            self._head = None
            self._fields = []
            self._special = None
            self._head_bytes = 0
            self._done = False
        self._reason = b""

    def on_status(self, reason: bytes) -> None:
        """A piece of the reason phrase."""
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """One field of the head, or of the trailers, which are dropped (F15)."""
        if self._head is not None:
            return
        lower = name.lower()
        if lower in RESPONSE_SPECIAL:
            if self._special is None:
                self._special = [(lower, value)]
            else:
                self._special.append((lower, value))
        else:
            self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is complete: check it and hand it over."""
        parser = self._parser
        head = ResponseHead()
        head.status = status = parser.get_status_code()
        version = parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise UpstreamBroken(f"HTTP/{version} in a response")
        if not 100 <= status <= 999:
            raise UpstreamBroken(f"status {status}")
        if version == "1.0":
            head.version = 10
        head.reason = self._reason
        head.fields = self._fields
        if len(head.fields) > 1000:
            raise UpstreamBroken("too many fields in the response")
        if self._special is not None or head.version == 10:
            _set_response_special(head, self._special)
        self._head = head
        self._items.append(head)
        if status < 200:
            return
        if self._no_body or status == 204 or status == 304:
            head.complete = True
            if head.content_length or head.chunked:
                # llhttp does not know that no body follows: what it would read next is another response.
                raise _Stop
            return
        if head.content_length is None and not head.chunked:
            head.keep_alive = False
        self._left = head.content_length or 0

    def on_body(self, body: bytes) -> None:
        """A piece of the body, without its framing."""
        if self._left:
            self._left -= len(body)
        self._items.append(body)

    def on_message_complete(self) -> None:
        """The message ends."""
        head = self._head
        self._done = True
        if head is not None and self._items and self._items[-1] is head:
            head.complete = True
        else:
            self._items.append(END)


class _Stop(Exception):  # a jump out of llhttp, not an error
    """Leaves the parser after a head that llhttp believes to have a body."""


def _set_response_special(head: ResponseHead, special: list[Field] | None) -> None:
    upgrade: bytes | None = None
    tokens: tuple[bytes, ...] = ()
    for name, value in special or ():
        if name == b"connection":
            tokens += parse_tokens(value)
        elif name == b"content-length":
            if head.content_length is not None or len(value) > 18 or not value.isdigit():
                raise UpstreamBroken("the response's Content-Length is not one number")
            head.content_length = int(value)
        elif name == b"transfer-encoding":
            if head.chunked or value.lower() != b"chunked" or head.version == 10:
                raise UpstreamBroken("the response's Transfer-Encoding is not chunked")
            head.chunked = True
        elif name == b"upgrade":
            upgrade = value.lower()
    if head.chunked and head.content_length is not None:
        raise UpstreamBroken("the response has Content-Length and Transfer-Encoding")
    if head.version != 11:
        head.keep_alive = False
    if tokens:
        if b"close" in tokens:
            head.keep_alive = False
        elif b"keep-alive" in tokens:
            head.keep_alive = True
        if b"upgrade" in tokens:
            head.upgrade = upgrade
        nominated = frozenset(tokens) - {b"close", b"keep-alive", b"upgrade"}
        if nominated:
            head.fields = [field for field in head.fields if field[0].lower() not in nominated]
