"""A client that asks a little, again and again, and notes what it had to wait for; a process of its own.

`python -m tests.support.bystander PORT PID` sends a GET over one kept connection, waits `PAUSE` seconds behind each
answer, and prints a line for each: when it was asked, by the monotonic clock, how many seconds the answer took, and how
much processor time the proxy, process PID, used meanwhile. The last is what the proxy did for others while this client
waited, whatever else kept the machine busy.
"""

from __future__ import annotations

import socket
import sys
import time
from typing import Final

PAUSE: Final = 0.003
"""Seconds between an answer and the next request."""

_REQUEST: Final = b"GET /bystander HTTP/1.1\r\nHost: a\r\n\r\n"


def _processor_clock(pid: int) -> int:
    """The clock of another process's processor time, as clock_getcpuclockid(3) makes it."""
    return (~pid << 3) | 2


def main(port: int, pid: int) -> None:
    """Go on until killed.

    Raises:
        ConnectionError: the answer is not the one that was due.
    """
    clock = _processor_clock(pid)
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            used = time.clock_gettime(clock)
            began = time.monotonic()
            sock.sendall(_REQUEST)
            answer = sock.recv(4096)
            seconds = time.monotonic() - began
            used = time.clock_gettime(clock) - used
            if not answer.startswith(b"HTTP/1.1 200 ") or not answer.endswith(b"\r\n\r\nok"):
                raise ConnectionError(f"answered with {answer!r}")
            print(began, seconds, used, flush=True)
            time.sleep(PAUSE)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
