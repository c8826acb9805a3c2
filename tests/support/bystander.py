"""A client that asks a little, again and again, and notes what it had to wait for; a process of its own.

`python -m tests.support.bystander HOST PORT PID` sends a GET over one kept connection, waits `PAUSE` seconds behind
each answer, and prints a line for each: when it was asked, by the monotonic clock, how many seconds the answer took,
how much processor time the proxy, process PID, used meanwhile, and how much this client then used for a piece of work
that is always the same. The third is what the proxy did for others while this client waited, whatever else kept the
machine busy; the fourth says how fast the machine was at that moment.
"""

from __future__ import annotations

import socket
import sys
import time
from typing import Final

PAUSE: Final = 0.003
"""Seconds between an answer and the next request."""

NOMINAL: Final = 0.0001
"""Seconds of processor time that the piece of work takes on the machine in whose seconds a test counts."""

_REQUEST: Final = b"GET /bystander HTTP/1.1\r\nHost: %b\r\n\r\n"
_LINES: Final = tuple(b"Name-%d: %b" % (number, b"x" * number) for number in range(60))


def _processor_clock(pid: int) -> int:
    """The clock of another process's processor time, as clock_getcpuclockid(3) makes it."""
    return (~pid << 3) | 2


def work() -> float:
    """Do the piece of work, which is of the kind that the proxy does.

    Returns:
        Seconds of processor time that it took.
    """
    began = time.thread_time()
    for _ in range(4):
        fields = {}
        for line in _LINES:
            name, _, value = line.partition(b":")
            fields[name.lower()] = value.strip()
    return time.thread_time() - began


def main(host: bytes, port: int, pid: int) -> None:
    """Go on until killed.

    Raises:
        ConnectionError: the answer is not the one that was due.
    """
    clock = _processor_clock(pid)
    request = _REQUEST % host
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            used = time.clock_gettime(clock)
            began = time.monotonic()
            sock.sendall(request)
            answer = sock.recv(4096)
            seconds = time.monotonic() - began
            used = time.clock_gettime(clock) - used
            if not answer.startswith(b"HTTP/1.1 200 ") or not answer.endswith(b"\r\n\r\nok"):
                raise ConnectionError(f"answered with {answer!r}")
            print(began, seconds, used, work(), flush=True)
            time.sleep(PAUSE)


if __name__ == "__main__":
    main(sys.argv[1].encode(), int(sys.argv[2]), int(sys.argv[3]))
