"""Compresses the responses that may be, for clients that ask for it; what may be is `hotswap.core.http.compression`.

A body that is there as a whole is compressed at once, and keeps a length. One that comes in pieces gets an encoder,
which stands between the exchange and its client from then on. Encoders are what compression costs in memory, so their
number is limited: above that, bodies go as they are.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final, Protocol

from hotswap.core.http.compression import JITTER, ZSTD, add_vary, coding_for, declare_coding, is_compressible
from hotswap.edge.exchange.compressed_responder import CompressedResponder, Encoder
from hotswap.wire.gzip_encoder import GzipEncoder, compress_gzip
from hotswap.wire.zstd_encoder import ZstdEncoder, compress_zstd

if TYPE_CHECKING:
    from hotswap.core.http.messages import RequestHead, ResponseHead
    from hotswap.edge.exchange.surroundings import Responder

MOST_ENCODERS: Final = 1000
"""Bodies that are compressed at the same time; zstd takes 0.45 MiB for each, gzip 0.25 or less."""


class Compressed(Protocol):
    """An exchange, as far as its response is compressed; see `hotswap.edge.exchange.exchange.Exchange`.

    Attributes:
        head: of the request.
        responder: what the response is sent by.
        coder: that which compresses the body.
    """

    head: RequestHead
    responder: Responder[Any]
    coder: CompressedResponder | None


class Compressor:
    """Compresses responses of a data plane.

    Args:
        most: bodies at the same time; those that are there as a whole are not counted.

    Attributes:
        encoders: how many there are now.
    """

    __slots__ = ("_most", "encoders")

    def __init__(self, most: int = MOST_ENCODERS) -> None:
        self._most = most
        self.encoders = 0

    def compress(self, exchange: Compressed, head: ResponseHead) -> None:
        """Have a response compressed if it may be and the client asks for it, and change its head accordingly."""
        request = exchange.head
        bodiless = request.method == b"HEAD"
        body = head.body
        if not is_compressible(head) or (head.complete and body is None and not bodiless):
            return
        add_vary(head)
        coding = coding_for(request)
        if coding is None or request.upgrade is not None:
            return
        if bodiless:  # told what a GET would be told
            declare_coding(head, coding, None)
            return
        padding = secrets.randbelow(JITTER + 1)
        if body is not None:
            head.body = body = compress_zstd(body, padding) if coding == ZSTD else compress_gzip(body, padding)
            declare_coding(head, coding, len(body))
        elif self.encoders < self._most:
            encoder = self.make_encoder(coding, padding)
            self.encoders += 1
            exchange.coder = exchange.responder = CompressedResponder(exchange.responder, encoder, self)
            declare_coding(head, coding, None)

    def make_encoder(self, coding: bytes, padding: int) -> Encoder:
        """Make an encoder of one body."""
        return ZstdEncoder(padding) if coding == ZSTD else GzipEncoder(padding)
