"""Clients that guess passwords, a hundred at a hundred addresses, ten times a second each; a process of its own.

`python -m tests.support.guessers PORT` prints a line when all are connected, and goes on until it is killed. Each sends
its next guess a tenth of a second behind the one before, or when that was answered, whatever the answer is.
"""

from __future__ import annotations

import sys
from base64 import b64encode
from itertools import count
from typing import Final

import trio

ADDRESSES: Final = 100
PAUSE: Final = 0.1


async def guess(number: int, port: int, connected: trio.Event) -> None:
    """Guess until cancelled."""
    sock = trio.socket.socket()
    await sock.bind((f"127.0.1.{number + 1}", 0))
    await sock.connect(("127.0.0.1", port))
    connected.set()
    await trio.sleep(number * PAUSE / ADDRESSES)
    due = trio.current_time()
    for tried in count():
        guessed = b64encode(b"alice:%d.%d" % (number, tried))
        await sock.send(b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic %b\r\n\r\n" % guessed)
        answer = await sock.recv(4096)
        assert answer.startswith((b"HTTP/1.1 401 ", b"HTTP/1.1 429 ", b"HTTP/1.1 503 ")), answer
        due = max(due + PAUSE, trio.current_time() - 1)
        await trio.sleep_until(due)


async def main(port: int) -> None:
    """Begin."""
    async with trio.open_nursery() as nursery:
        events = [trio.Event() for _ in range(ADDRESSES)]
        for number, connected in enumerate(events):
            nursery.start_soon(guess, number, port, connected)
        for connected in events:
            await connected.wait()
        print("begun", flush=True)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]))
