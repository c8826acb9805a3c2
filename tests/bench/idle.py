"""A load of many idle connections, held while a few work: what an idle one takes of the proxy's memory."""

from __future__ import annotations

import contextlib
import resource
import select
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.bench.outcome import Outcome
from tests.bench.transfer import open_client
from tests.bench.usage import Usage
from tests.bench.wrk import WrkLoad, run_wrk

# What both sides need besides the held connections.
_SPARE_DESCRIPTORS = 1500
_REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleLoad:
    """Hold up to ``connections`` that have had one exchange each, while ``busy`` works."""

    connections: int
    busy: WrkLoad


def run_idle(load: IdleLoad, *, port: int, seconds: float, read_usage: Callable[[], Usage]) -> Outcome:
    """Measure ``load.busy`` on loopback ``port`` while the idle connections are held.

    Each idle connection has had one exchange: one that never spoke runs into the header timeout.

    Args:
        load: what to hold and what to run.
        port: of the proxy.
        seconds: how long the busy connections work.
        read_usage: what the proxy uses now.

    Returns:
        The outcome of the busy load; an idle connection that was lost meanwhile counts as an error. Details:
        ``idle_connections``, ``idle_bytes`` (for each of them), ``idle_lost``.
    """
    count = min(load.connections, raise_descriptor_limit() - _SPARE_DESCRIPTORS)
    run_wrk(load.busy, port=port, seconds=1)
    before = read_usage()
    with contextlib.ExitStack() as held:
        connections = [held.enter_context(_open_idle(port)) for _ in range(count)]
        holding = read_usage()
        outcome = run_wrk(load.busy, port=port, seconds=seconds)
        after = read_usage()
        lost = sum(map(_is_lost, connections))
    details = {
        "idle_connections": float(count),
        "idle_bytes": (holding.memory_bytes - before.memory_bytes) / count,
        "idle_lost": float(lost),
    }
    return replace(
        outcome,
        errors=outcome.errors + lost,
        processor_seconds=after.processor_seconds - holding.processor_seconds,
        details={**outcome.details, **details},
    )


def raise_descriptor_limit() -> int:
    """Raise the limit of open files to what is allowed to this process and its children, and return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else 1_000_000


def _open_idle(port: int) -> socket.socket:
    connection = open_client(port)
    try:
        connection.sendall(_REQUEST)
        received = b""
        while b"\r\n\r\n" not in received or not received.endswith(b"\n"):
            more = connection.recv(4096)
            if not more:
                raise ConnectionError(f"an idle connection ended after {received[:200]!r}")
            received += more
    except BaseException:
        connection.close()
        raise
    return connection


def _is_lost(connection: socket.socket) -> bool:
    # Nothing is under way on it, so readable means ended.
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))
