"""Plain backend that boots at once, for tests in which the app does not matter.

`python -m faulty.plain [--unix PATH | --port N] [--boot-seconds S] [--notify]`

Paths: `/healthz`, `/whoami` (JSON: pid, pool, slot, generation), `/slow?seconds=`, `/echo` (the request body
back), `/headers` (method, target and fields as they arrived, as JSON), `/status/NNN`,
`/stream?lines=&seconds=` (chunked; each line is its number in 15 digits), `/close` (answers, then hangs up,
announced). Everything else says hello.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

from faulty.threaded import (
    OpenRequest,
    ThreadedServer,
    add_socket_options,
    open_listener,
    say,
    tell_supervisor,
    whoami,
)


def answer(exchange: OpenRequest) -> None:
    """Answer one exchange properly."""
    match exchange.path:
        case "/healthz":
            exchange.respond(b"ok\n")
        case "/whoami":
            exchange.respond_json(whoami())
        case "/slow":
            time.sleep(float(exchange.query("seconds", "1")))
            exchange.respond_json(whoami())
        case "/echo":
            exchange.respond(exchange.body(), content_type="application/octet-stream")
        case "/headers":
            exchange.respond_json({"method": exchange.method, "target": exchange.target, "headers": exchange.headers})
        case "/stream":
            _stream(
                exchange,
                lines=int(exchange.query("lines", "100")),
                seconds=float(exchange.query("seconds", "1")),
            )
        case "/close":
            exchange.close()
            exchange.respond(b"closing\n")
        case path if path.startswith("/status/"):
            _respond_status(exchange, int(path.removeprefix("/status/")))
        case _:
            exchange.respond(b"hello\n")


def _respond_status(exchange: OpenRequest, status: int) -> None:
    if status in (204, 304):
        exchange.send(exchange.head(status=status))
    else:
        exchange.respond(f"status {status}\n".encode(), status=status)


def _stream(exchange: OpenRequest, *, lines: int, seconds: float) -> None:
    exchange.send(exchange.head("Content-Type: text/plain", "Transfer-Encoding: chunked"))
    for number in range(lines):
        exchange.send(b"10\r\n%015d\n\r\n" % number)
        time.sleep(seconds / lines)
    exchange.send(b"0\r\n\r\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="faulty.plain", description="A well behaved backend.")
    add_socket_options(parser)
    parser.add_argument("--boot-seconds", type=float, default=0.0, help="how long starting takes")
    parser.add_argument("--notify", action="store_true", help="say READY=1 and STOPPING=1 on NOTIFY_SOCKET")
    options = parser.parse_args(arguments)
    listener = open_listener(options)
    time.sleep(options.boot_seconds)
    server = ThreadedServer(listener, answer, name="plain")
    say(f"plain: serving {listener.getsockname()!r}")
    if options.notify:
        tell_supervisor(b"STATUS=serving\nREADY=1")
    server.serve()
    if options.notify:
        tell_supervisor(b"STOPPING=1")


if __name__ == "__main__":
    main()
