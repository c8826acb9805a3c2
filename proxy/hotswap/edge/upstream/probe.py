"""Health probe of one backend: connect, send a request, judge the status.

Theory. A connect proves nothing, because the proxy itself listened before the backend existed; only an answer
does. A probe opens a connection of its own over the address that exchanges use, and closes it afterwards. It
has one deadline over all its steps, never raises, and says in its detail which step it failed at: a refused
connect (nobody there), a deadline (somebody there who does not answer) and an unexpected status (somebody who
says no) call for different help.
"""

from __future__ import annotations

import errno
import math
import os
import socket
from typing import TYPE_CHECKING, Final

import trio

from hotswap.core.address import Address, TcpAddress, UnixAddress
from hotswap.core.errors import ConnectFailed
from hotswap.core.http.messages import ResponseHead
from hotswap.core.pool.health import ProbeResult
from hotswap.edge.loop import descriptors
from hotswap.edge.loop.endpoint import Endpoint, endpoint_of
from hotswap.edge.loop.names import Names, look_up
from hotswap.edge.upstream.connector import FALLBACK
from hotswap.edge.upstream.probe_http2 import ProbeFailed, ask_http2, send_all
from hotswap.wire.http1.request_parser import End
from hotswap.wire.http1.response_parser import ResponseParser

if TYPE_CHECKING:
    from hotswap.core.config.pools import HealthTable

MAX_HEAD_BYTES: Final = 65536
"""A head longer than this is no answer to a health check."""

_READ_BYTES: Final = 16384

_FULL_BACKLOG_PAUSE: Final = 0.01
"""Seconds between two connects to a Unix socket whose queue is full: the kernel has no event for that."""

_LAST_BYTES_TIMEOUT: Final = 0.05
"""Seconds to let the backend send the body: one that is cut off in the middle of its answer logs an error."""

_LAST_BYTES: Final = 65536


class _Answer:
    """The first response that is no 1xx, read as strictly as in an exchange: its status, and whether it is whole."""

    __slots__ = ("complete", "parser", "status")

    def __init__(self) -> None:
        self.parser = ResponseParser()
        self.status: int | None = None
        self.complete = False

    def feed(self, data: bytes) -> None:
        """Parse the next bytes.

        Raises:
            ProbeFailed: it is no response.
        """
        for item in self.parser.feed(data):
            if isinstance(item, ResponseHead):
                if item.status >= 200 or item.status == 101:
                    self.status, self.complete = item.status, item.complete
            elif isinstance(item, End):
                self.complete = True
        if self.parser.error is not None and self.status is None:
            raise ProbeFailed(f"not an answer in HTTP/1.1: {self.parser.error}")


async def probe(
    address: Address, health: HealthTable, *, pool: str, h2c: bool = False, names: Names | None = None
) -> ProbeResult:
    """Probe a backend once. Never raises; takes at most `health.timeout` seconds and a little.

    Args:
        address: where the backend listens.
        health: what to ask for and what to expect.
        pool: name of the backend's pool, sent as the Host where the table names none.
        h2c: ask over HTTP/2, with prior knowledge.
        names: what is known of host names; None: ask the system each time.

    **Cancellation**: the connection is closed.
    """
    step = "connect"
    try:
        with trio.fail_after(health.timeout):
            connection = await _connect(address, names)
            with connection:
                step = "request"
                if h2c:
                    status = await ask_http2(connection, health, pool)
                else:
                    await send_all(connection, _request(health, pool))
                    step = "answer"
                    answer = await _receive_head(connection)
                    assert answer.status is not None
                    status = answer.status
                    with trio.move_on_after(_LAST_BYTES_TIMEOUT):
                        await _receive_rest(connection, answer)
    except trio.TooSlowError:
        within = f"within {health.timeout:g} s"
        return ProbeResult(ok=False, detail=f"no connection {within}" if step == "connect" else f"no answer {within}")
    except ConnectFailed as failure:
        return ProbeResult(ok=False, detail=f"connect failed: {failure}")
    except ProbeFailed as failure:
        return ProbeResult(ok=False, detail=str(failure))
    except OSError as error:
        asked = step != "connect" or error.errno not in descriptors.OURS
        return ProbeResult(ok=False, detail=f"{step} failed: {_describe(error)}", asked=asked)
    if status in health.expect:
        return ProbeResult(ok=True, status=status)
    return ProbeResult(ok=False, status=status, detail=f"{health.path} has status {status}, expected {health.expect}")


def _request(health: HealthTable, pool: str) -> bytes:
    return (
        f"GET {health.path} HTTP/1.1\r\nHost: {health.host or pool}\r\nUser-Agent: hotswap-probe\r\n"
        "Accept: */*\r\nConnection: close\r\n\r\n"
    ).encode("ascii")


async def _connect(address: Address, names: Names | None) -> trio.socket.SocketType:
    match address:
        case UnixAddress(path=path):
            return await _connect_unix(path)
        case TcpAddress(host=host, port=port):
            endpoint = endpoint_of(address)
            if endpoint is not None:
                return (await _connect_tcp((endpoint,)))[0]
            if names is None:
                return (await _connect_tcp(await look_up(host, port)))[0]
            name = names.name(host, port)
            endpoints = await name.wait()
            try:
                connection, endpoint = await _connect_tcp(endpoints)
            except OSError:
                name.doubt()
                raise
            name.prefer(endpoint)
            return connection


async def _connect_tcp(endpoints: tuple[Endpoint, ...]) -> tuple[trio.socket.SocketType, Endpoint]:
    """Connect as exchanges do (`hotswap.edge.upstream.connector`): over the first that works."""
    left = [(endpoint, False) for endpoint in endpoints]
    failure: OSError = ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    while left:
        endpoint, patient = left.pop(0)
        try:
            connection = trio.socket.socket(endpoint.family, socket.SOCK_STREAM)
        except OSError as error:
            failure = error
            if error.errno in descriptors.OURS:
                break
            continue
        try:
            with trio.move_on_after(FALLBACK if left and not patient else math.inf):
                await connection.connect(endpoint.address)
                return connection, endpoint
        except OSError as error:
            failure = error
        except BaseException:
            connection.close()
            raise
        else:
            left.append((endpoint, True))
        connection.close()
    raise failure


async def _connect_unix(path: str) -> trio.socket.SocketType:
    # Connecting to a Unix socket never waits: it succeeds, fails, or says EAGAIN when the queue is full. trio
    # takes EAGAIN for a connect in progress and would give a socket that is not connected.
    while True:
        connecting = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            connecting.connect(path)
        except BlockingIOError:
            connecting.close()
            await trio.sleep(_FULL_BACKLOG_PAUSE)
        except BaseException:
            connecting.close()
            raise
        else:
            return trio.socket.from_stdlib_socket(connecting)


async def _receive_head(connection: trio.socket.SocketType) -> _Answer:
    answer = _Answer()
    received = 0
    while answer.status is None:
        data = await connection.recv(_READ_BYTES)
        if not data:
            raise ProbeFailed("closed without an answer" if received == 0 else "closed in the middle of the head")
        received += len(data)
        answer.feed(data)
        if answer.status is None and received > MAX_HEAD_BYTES:
            raise ProbeFailed(f"a head longer than {MAX_HEAD_BYTES} bytes")
    return answer


async def _receive_rest(connection: trio.socket.SocketType, answer: _Answer) -> None:
    received = 0
    while not answer.complete and received < _LAST_BYTES:
        try:
            data = await connection.recv(_READ_BYTES)
        except OSError:
            return
        if not data:
            return
        answer.feed(data)
        received += len(data)


def _describe(error: OSError) -> str:
    match error:
        case ConnectionRefusedError():
            return "refused"
        case FileNotFoundError():
            return "no such socket"
        case ConnectionResetError() | BrokenPipeError():
            return "reset"
        case _:
            return error.strerror or str(error)
