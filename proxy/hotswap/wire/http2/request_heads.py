"""Builds request heads from field lists, within limits, and caches those that repeat."""

from __future__ import annotations

from typing import Final

from hotswap.core.errors import BadRequest
from hotswap.core.http.messages import Field, RequestHead
from hotswap.wire.http2.field_compression import list_size
from hotswap.wire.http2.fields import MalformedRequest, check_trailers, read_request

KEPT_HEADS: Final = 32
KEPT_HEAD_BYTES: Final = 2048
"""How many heads are remembered, and how large, for requests that come again."""


class RequestHeads:
    """Head builder of one connection, with its cache; the limits are on the fields of one request, decoded."""

    __slots__ = ("_header_bytes", "_headers", "_known")

    def __init__(self, *, header_bytes: int, headers: int) -> None:
        self._header_bytes = header_bytes
        self._headers = headers
        self._known: dict[tuple[bytes, bool], tuple[list[Field], RequestHead]] = {}

    def recall(self, block: bytes, fields: list[Field], *, ended: bool) -> RequestHead | None:
        """The cached head of the same block, decoded to the same list."""
        known = self._known.get((block, ended))
        return known[1] if known is not None and known[0] is fields else None

    def read(self, block: bytes, fields: list[Field], *, ended: bool) -> RequestHead:
        """Build a head of a field block, from its fields as they were decoded; with `ended` END_STREAM came with them.

        Raises:
            MalformedRequest: reset the stream.
            BadRequest: answer with its status.
        """
        size = list_size(fields)
        if size > self._header_bytes:
            target = dict(fields).get(b":path", b"")
            raise BadRequest("the head is too large", status=414 if len(target) > self._header_bytes // 2 else 431)
        head = read_request(fields, ended=ended, max_fields=self._headers)
        if head.upgrade is None and size <= KEPT_HEAD_BYTES:
            if len(self._known) >= KEPT_HEADS:
                self._known.clear()
            self._known[block, ended] = (fields, head)
        return head

    def check_trailers(self, fields: list[Field]) -> None:
        """Validate the trailers of a request.

        Raises:
            MalformedRequest: reset the stream.
        """
        if list_size(fields) > self._header_bytes:
            raise MalformedRequest("the trailers are too large")
        check_trailers(fields)
