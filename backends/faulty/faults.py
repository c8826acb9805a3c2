"""Backends that misbehave, each in one way chosen on the command line.

`python -m faulty FAULT [--unix PATH | --port N] [--seconds S] [--bytes N] [--path PATH] [--variant
NAME]`

Apart from its fault each is the plain backend, `/healthz` included, unless the fault is about the probe
itself. `FAULTS` is the table of them, with what each does; `--path` is the request that triggers those that
need one.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from faulty.plain import answer
from faulty.threaded import (
    Handler,
    OpenRequest,
    ThreadedServer,
    add_socket_options,
    open_listener,
    say,
    tell_supervisor,
)

EADDRINUSE = 98

PROBE_PATH = "/healthz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """Options of the command line."""

    listener: socket.socket
    seconds: float
    size: int
    path: str
    variant: str


Fault = Callable[[Choices], None]


def _serve(choices: Choices, handler: Handler = answer) -> None:
    ThreadedServer(choices.listener, handler, name="faulty").serve()


def _on_path(choices: Choices, misbehave: Handler) -> Handler:
    """A handler that misbehaves on the chosen path only."""

    def handler(exchange: OpenRequest) -> None:
        if exchange.path == choices.path:
            misbehave(exchange)
        else:
            answer(exchange)

    return handler


def slow_start(choices: Choices) -> None:
    """Accepts nothing for `--seconds`, then is well behaved."""
    time.sleep(choices.seconds)
    _serve(choices)


def never_ready(_choices: Choices) -> None:
    """Holds its socket and never accepts."""
    signal.pause()


def dies_at_start(choices: Choices) -> None:
    """Writes why it cannot go on and exits with 3, after `--seconds` and before it serves anything."""
    time.sleep(choices.seconds)
    for number in range(3):
        sys.stderr.write(f"loading part {number}\n")
    sys.stderr.write("faulty: cannot find the table of orders\n")
    sys.exit(3)


def exits_later(choices: Choices) -> None:
    """Is well behaved for `--seconds`, then exits with 3 whatever is inside."""

    def leave() -> None:
        time.sleep(choices.seconds)
        say("faulty: the licence ran out")
        os._exit(3)

    threading.Thread(target=leave, daemon=True).start()
    _serve(choices)


def cannot_serve(_choices: Choices) -> None:
    """Says `ERRNO=98` on `NOTIFY_SOCKET` and lives on without serving."""
    sys.stderr.write("faulty: address already in use\n")
    tell_supervisor(b"STATUS=cannot bind the metrics port\nERRNO=%d" % EADDRINUSE)
    signal.pause()


def answers_500(choices: Choices) -> None:
    """Answers 500 to everything, the probe included."""
    _serve(choices, lambda exchange: exchange.respond(b"out of order\n", status=500))


def never_answers(choices: Choices) -> None:
    """Accepts, reads the request, and never says a word."""
    _serve(choices, lambda _exchange: time.sleep(3600))


def ignores_sigterm(choices: Choices) -> None:
    """Is well behaved until it is asked to stop, which it ignores."""
    server = ThreadedServer(choices.listener, answer, name="faulty")
    server.ignore_stop = True
    server.serve()


def blocks_loop(choices: Choices) -> None:
    """After a request for `--path` the whole process stands still: no answer, no accept, deaf to SIGTERM."""
    server = ThreadedServer(choices.listener, _on_path(choices, lambda _exchange: server.freeze()), name="faulty")
    server.serve()


def cuts_body(choices: Choices) -> None:
    """On `--path`: declares `--bytes` and hangs up half-way (`--variant chunked`: without the last chunk)."""

    def cut(exchange: OpenRequest) -> None:
        exchange.close()
        half = b"x" * (choices.size // 2)
        if choices.variant == "chunked":
            framed = b"%x\r\n%s\r\n" % (len(half), half)
            exchange.send(exchange.head("Transfer-Encoding: chunked") + framed)
        else:
            exchange.send(exchange.head(f"Content-Length: {choices.size}") + half)

    _serve(choices, _on_path(choices, cut))


_OK = b"HTTP/1.1 200 OK\r\n"

CONTRADICTIONS: Mapping[str, bytes] = {
    "both": _OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "two-lengths": _OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "negative": _OK + b"Content-Length: -5\r\n\r\nhello",
    "extra": _OK + b"Content-Length: 5\r\n\r\nhello" + _OK + b"Content-Length: 5\r\n\r\nthief",
    "bad-chunk": _OK + b"Transfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n",
    "fold": _OK + b"X-Folded: a\r\n b\r\nContent-Length: 5\r\n\r\nhello",
    "bare-lf": b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
    "junk": b"\x16\x03\x01 this is not HTTP\r\n\r\n",
    "body-in-204": b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
    "unasked-101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
}
"""Responses whose framing contradicts itself or the protocol, by the name of the variant."""


def contradicts_framing(choices: Choices) -> None:
    """On `--path`: one of `CONTRADICTIONS`, chosen by `--variant`; the connection stays open behind it."""
    response = CONTRADICTIONS[choices.variant or "both"]
    _serve(choices, _on_path(choices, lambda exchange: exchange.send(response)))


def splits_response(choices: Choices) -> None:
    """On `--path`: a valid chunked response, one byte at a time."""

    def split(exchange: OpenRequest) -> None:
        whole = (
            exchange.head("Transfer-Encoding: chunked", "X-Split: yes") + b"5;ext=1\r\nhello\r\n0\r\nX-End: 1\r\n\r\n"
        )
        for position in range(len(whole)):
            exchange.send(whole[position : position + 1])
            time.sleep(0.001)

    _serve(choices, _on_path(choices, split))


def huge_head(choices: Choices) -> None:
    """On `--path`: a response head with a field of `--bytes` bytes."""
    _serve(
        choices,
        _on_path(choices, lambda exchange: exchange.send(exchange.head(f"X-Huge: {'x' * choices.size}"))),
    )


def huge_output(choices: Choices) -> None:
    """Writes `--bytes` bytes without a line end, as many in lines, then no text at all; serves well."""

    def shout() -> None:
        error = sys.stderr.buffer
        error.write(b"x" * choices.size + b"\n")
        line = b"y" * 79 + b"\n"
        for _ in range(choices.size // len(line)):
            error.write(line)
        error.write(b"\xff\xfe\x00\x1b[31mred\x07\r\n")
        error.write(b"faulty: end of the output\n")
        error.flush()

    threading.Thread(target=shout, daemon=True).start()
    _serve(choices)


def malformed_notify(choices: Choices) -> None:
    """Sends what no supervisor expects on `NOTIFY_SOCKET`, then `READY=1`, and is well behaved."""
    for message in (
        b"",
        b"\xff\xfe\x00",
        b"READY",
        b"READY=perhaps",
        b"ERRNO=not a number",
        b"=\n=\n\n",
        b"MAINPID=1",
        b"X_HUGE=" + b"x" * 60_000,
        b"STATUS=\x1b[31m\x00",
    ):
        tell_supervisor(message)
    tell_supervisor(b"READY=1\nSTATUS=serving")
    _serve(choices)


def closes_after_each(choices: Choices) -> None:
    """Hangs up after each response without having announced it."""

    def handler(exchange: OpenRequest) -> None:
        answer(exchange)
        exchange.close()

    _serve(choices, handler)


def closes_idle(choices: Choices) -> None:
    """Hangs up on connections that were idle for `--seconds`."""
    server = ThreadedServer(choices.listener, answer, name="faulty")
    server.idle_timeout = choices.seconds
    server.serve()


def answers_early(choices: Choices) -> None:
    """On `--path`: answers 403 before it read the body, and hangs up."""

    def refuse(exchange: OpenRequest) -> None:
        exchange.close()
        exchange.respond(b"not from you\n", status=403)

    _serve(choices, _on_path(choices, refuse))


def crashes_on_request(choices: Choices) -> None:
    """On `--path`: dies by SIGKILL before answering (`--variant partial`: after half of the answer)."""

    def crash(exchange: OpenRequest) -> None:
        if choices.variant == "partial":
            exchange.send(exchange.head(f"Content-Length: {choices.size}") + b"x" * (choices.size // 2))
        os.kill(os.getpid(), signal.SIGKILL)

    _serve(choices, _on_path(choices, crash))


FAULTS: Mapping[str, Fault] = {
    function.__name__.replace("_", "-"): function
    for function in (
        slow_start,
        never_ready,
        dies_at_start,
        exits_later,
        cannot_serve,
        answers_500,
        never_answers,
        ignores_sigterm,
        blocks_loop,
        cuts_body,
        contradicts_framing,
        splits_response,
        huge_head,
        huge_output,
        malformed_notify,
        closes_after_each,
        closes_idle,
        answers_early,
        crashes_on_request,
    )
}
"""Every fault by the name it has on the command line."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Misbehave as the command line says."""
    parser = argparse.ArgumentParser(
        prog="faulty",
        description="A backend that misbehaves.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join(f"{name:20} {function.__doc__}" for name, function in FAULTS.items()),
    )
    parser.add_argument("fault", choices=FAULTS)
    add_socket_options(parser)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--bytes", type=int, default=1_000_000, dest="size")
    parser.add_argument("--path", default="/fault")
    parser.add_argument("--variant", default="", choices=["", "chunked", "partial", *CONTRADICTIONS])
    options = parser.parse_args(arguments)
    if options.path == PROBE_PATH:
        parser.error("--path must not be the path of the probe")
    FAULTS[options.fault](
        Choices(
            listener=open_listener(options),
            seconds=options.seconds,
            size=options.size,
            path=options.path,
            variant=options.variant,
        )
    )


if __name__ == "__main__":
    main()
