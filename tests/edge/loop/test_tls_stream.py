"""A stream over TLS by itself."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import trustme

from hotswap.edge.loop.stream import HIGH_WATER
from hotswap.edge.loop.tls_stream import RECORD_BYTES, TlsStream
from tests.support.stage import Clock
from tests.support.streams import stream_over, tcp_pair


@contextmanager
def tls_pair() -> Iterator[tuple[ssl.SSLSocket, ssl.SSLObject, ssl.MemoryBIO, socket.socket]]:
    """A server's end after its handshake, and a client that reads what it wants."""
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    near, far = tcp_pair()
    near_tls = server.wrap_socket(near, server_side=True, do_handshake_on_connect=False)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    reader = client.wrap_bio(incoming, outgoing, server_hostname="localhost")
    done = 0
    with far:
        while done < 2:
            done = 0
            for side in (reader, near_tls):
                try:
                    side.do_handshake()
                    done += 1
                except ssl.SSLWantReadError:
                    pass
                far.sendall(outgoing.read())
                with suppress(BlockingIOError):
                    while True:
                        incoming.write(far.recv(65536, socket.MSG_DONTWAIT))
        yield near_tls, reader, incoming, far


def test_over_tls_a_piece_moves_record_by_record():
    """And small pieces share a record."""
    clock = Clock()
    with tls_pair() as (near, reader, incoming, far), stream_over(near, clock, TlsStream) as stream:
        stream.write_all([b"x"] * 2000)
        incoming.write(far.recv(65536))
        assert reader.read(65536) == b"x" * 2000
        stream.write(bytes(64 * HIGH_WATER))
        unsent = stream.unsent
        assert unsent
        while stream.unsent == unsent:
            far.recv(65536)
            stream.flush_kept()
        assert (unsent - stream.unsent) % RECORD_BYTES == 0
