"""Asks the proxy whether it is ready, with as few imports as can be: what `healthcheck` does.

A container runs it every few seconds for as long as it lives, so it costs a small part of what the other verbs do:
no click, no rich, no HTTP library, one connection for each question.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

from hotswap.cli.endpoint import AdminEndpoint, find_endpoint
from hotswap.cli.exits import CommandError, ExitCode
from hotswap.control.configuration.path import is_same_file
from hotswap.core.address import Address, UnixAddress
from hotswap.core.printable import escape_controls

TIMEOUT: Final = 5.0
"""Seconds that each answer may take."""

LARGEST_ANSWER: Final = 64 * 1024 * 1024

OPTIONS: Final = ("--admin", "--config", "--token-file")
"""Those that take a value, as every verb has them."""


class NoAnswer(Exception):
    """Nobody answers, or not as a proxy does; the message says why."""


def answer_quickly(arguments: Sequence[str]) -> int | None:
    """Do what `hotswap healthcheck` does, if its arguments are simple.

    Returns:
        The exit code; None: somebody asks for help, or mistyped, which is answered by the whole command.
    """
    given: dict[str, str] = {}
    live = False
    waiting = list(arguments)
    while waiting:
        option, equals, value = waiting.pop(0).partition("=")
        if option == "--live" and not equals:
            live = True
        elif option in OPTIONS and (equals or waiting):
            given[option] = value if equals else waiting.pop(0)
        else:
            return None
    try:
        config, token_file = (Path(given[name]) if given.get(name) else None for name in ("--config", "--token-file"))
        return check_health(find_endpoint(given.get("--admin"), config, token_file), live=live)
    except CommandError as error:
        for line in (error.message, *(f"  {hint}" for hint in error.hints)):
            _complain(line)
        return ExitCode.FAILED


def check_health(endpoint: AdminEndpoint, *, live: bool) -> int:
    """Ask, say on standard error what is wrong if anything is, and give the exit code.

    Args:
        endpoint: where the proxy may be; what answers for another configuration is passed over.
        live: ask whether the process answers at all, and not whether it can serve.
    """
    told = "no address is known"
    for address in endpoint.addresses:
        try:
            if endpoint.config is not None:
                _recognise(address, endpoint)
            status, document = _get(address, "/livez" if live else "/readyz", endpoint.token)
        except NoAnswer as error:
            # What answers says more than what does not.
            told = str(error)
            continue
        if status == 200:
            return ExitCode.DONE
        _complain(str(document.get("detail") or f"{address} answers with status {status}"))
        return ExitCode.FAILED
    _complain(f"no proxy is ready at {endpoint.where}: {told}")
    return ExitCode.FAILED


def _recognise(address: Address, endpoint: AdminEndpoint) -> None:
    status, document = _get(address, "/v1/status", endpoint.token)
    config = document.get("config")
    if status != 200 or not isinstance(config, str):
        raise NoAnswer(str(document.get("detail") or f"what answers there is not a hotswap proxy (status {status})"))
    assert endpoint.config is not None
    if not is_same_file(config, endpoint.config):
        raise NoAnswer(f"the proxy there runs {config}, not {endpoint.config}")


def _get(address: Address, path: str, token: str | None) -> tuple[int, dict[str, Any]]:
    """Send a GET and read the answer: its status, and its document.

    Raises:
        NoAnswer: there is none.
    """
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", "User-Agent: hotswap-healthcheck", "Connection: close"]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    try:
        with closing(_connect(address)) as connection:
            connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
            answer = bytearray()
            while (chunk := connection.recv(1 << 16)) and len(answer) < LARGEST_ANSWER:
                answer += chunk
    except TimeoutError:
        raise NoAnswer("no answer in time") from None
    except (OSError, UnicodeError) as error:
        raise NoAnswer((error.strerror if isinstance(error, OSError) else None) or str(error)) from None
    head, _, body = bytes(answer).partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    if not words[0].startswith(b"HTTP/1.") or len(words) < 2 or not words[1].isdigit():
        raise NoAnswer("what answers there does not speak HTTP")
    try:
        document = json.loads(body)
    except ValueError:
        document = {}
    return int(words[1]), document if isinstance(document, dict) else {}


def _connect(address: Address) -> socket.socket:
    if not isinstance(address, UnixAddress):
        return socket.create_connection((address.host, address.port), TIMEOUT)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(TIMEOUT)
        connection.connect(address.path)
    except BaseException:
        connection.close()
        raise
    return connection


def _complain(line: str) -> None:
    # Not by a console, which is what takes the time. Perhaps nobody reads it.
    with suppress(OSError):
        os.write(2, (escape_controls(line) + "\n").encode("utf-8", "backslashreplace"))
