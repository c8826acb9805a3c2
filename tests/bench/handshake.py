"""A load of full TLS handshakes, each on a connection of its own, with one GET to show that it was good.

wrk resumes its sessions, which spares a server the signature, the dearest part of a handshake.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from dataclasses import dataclass, field

from tests.bench.outcome import Outcome, percentile

_TIMEOUT = 10.0
_REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class HandshakeLoad:
    """``connections`` threads, each connecting over TLS 1.3 again and again."""

    connections: int


@dataclass(slots=True)
class _Tally:
    """What the threads have done; list.append is atomic."""

    durations: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def run_handshakes(load: HandshakeLoad, *, port: int, seconds: float) -> Outcome:
    """Shake hands with loopback ``port`` for ``seconds``; latencies are from connect to the end of the handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    # The signature is checked all the same; what is left out is the chain, which no proxy has a part in.
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    tally = _Tally()
    started = time.monotonic()
    deadline = started + seconds

    def work() -> None:
        while time.monotonic() < deadline:
            try:
                tally.durations.append(_shake(context, port))
            except OSError as error:
                tally.errors.append(repr(error))
                if len(tally.errors) > load.connections:
                    return

    threads = [threading.Thread(target=work) for _ in range(load.connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Outcome(
        requests=len(tally.durations),
        seconds=time.monotonic() - started,
        p50=percentile(tally.durations, 0.5),
        p99=percentile(tally.durations, 0.99),
        errors=len(tally.errors),
    )


def _shake(context: ssl.SSLContext, port: int) -> float:
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with context.wrap_socket(plain, server_hostname="localhost") as connection:
            shaken = time.monotonic() - started
            connection.sendall(_REQUEST)
            answer = connection.recv(4096)
            if not answer.startswith(b"HTTP/1.1 200"):
                raise ConnectionError(f"answered with {answer[:100]!r}")
    return shaken
