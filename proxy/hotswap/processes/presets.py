"""Server presets: how each server is started and stopped, one row a server.

A row gives the arguments as a template with the placeholders of `server = "command"`, because the socket is
known only when a backend is spawned. What the configuration is judged by (interfaces, kinds of sockets) is in
`hotswap.core.server`; the facts behind the rows were measured.

Common to all: one worker process behind one slot, since the pool is the set of workers; idle connections are
the proxy's to close, so the server's own keep-alive limit is far above it; the forwarded fields are believed,
because nobody but the proxy reaches the socket; no access log, the proxy writes one. `args` follow these
arguments, and in every one of these servers the later one wins.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from hotswap.core.config.pools import SupervisedPoolTable
from hotswap.core.server import Interface, Server
from hotswap.core.strategy import Listen
from hotswap.processes.listening import BACKLOG, Transport

KEEP_ALIVE: Final = "3600"
"""Seconds until a server closes an idle connection by itself; the proxy is to be first."""

_BACKLOG: Final = str(BACKLOG)
"""Some servers call listen() again on an inherited socket, which would shorten its queue to their own
default."""

Arguments = Callable[[str, Interface, Listen], tuple[str, ...]]
"""From app, interface and kind of socket to what follows `python -m MODULE`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Command and signals of one server.

    Attributes:
        module: what `python -m` runs.
        arguments: what follows it.
        transport: what an inherited listening socket has to be.
        stop_signal: what makes it finish and exit.
    """

    module: str
    arguments: Arguments
    transport: Transport = Transport.UNIX
    stop_signal: signal.Signals = signal.SIGTERM


def _uvicorn(app: str, interface: Interface, listen: Listen) -> tuple[str, ...]:
    where = {
        Listen.FD: ("--fd", "{fd}"),
        Listen.UNIX: ("--uds", "{socket}"),
        Listen.TCP: ("--host", "{host}", "--port", "{port}"),
    }[listen]
    return (
        app,
        *where,
        *(("--interface", "wsgi") if interface is Interface.WSGI else ()),
        "--backlog",
        _BACKLOG,
        "--timeout-keep-alive",
        KEEP_ALIVE,
        "--no-access-log",
        # Over a Unix socket there is no client address to compare with, so a list of addresses would match
        # nothing.
        "--forwarded-allow-ips",
        "*",
    )


def _hypercorn(app: str, interface: Interface, listen: Listen) -> tuple[str, ...]:
    where = {Listen.FD: "fd://{fd}", Listen.UNIX: "unix:{socket}", Listen.TCP: "{host}:{port}"}[listen]
    return (
        f"{interface.value}:{app}",
        "--bind",
        where,
        # 0 would do without its master, but with some of its worker classes that mode cuts everything at
        # once.
        "--workers",
        "1",
        "--backlog",
        _BACKLOG,
        "--keep-alive",
        KEEP_ALIVE,
    )


def _gunicorn(app: str, interface: Interface, listen: Listen) -> tuple[str, ...]:
    where = {
        # It finds the socket by LISTEN_FDS; told of it twice it would listen twice.
        Listen.FD: (),
        Listen.UNIX: ("--bind", "unix:{socket}"),
        Listen.TCP: ("--bind", "{host}:{port}"),
    }[listen]
    worker = ("--worker-class", "asgi") if interface is Interface.ASGI else ("--threads", "8")
    return (
        app,
        *where,
        *worker,
        "--workers",
        "1",
        "--backlog",
        _BACKLOG,
        "--keep-alive",
        KEEP_ALIVE,
        "--forwarded-allow-ips",
        "*",
        # Its control socket has one path for all instances of a user, which then collide.
        "--no-control-socket",
    )


def _granian(app: str, interface: Interface, listen: Listen) -> tuple[str, ...]:
    where = ("--uds", "{socket}") if listen is Listen.UNIX else ("--host", "{host}", "--port", "{port}")
    return (
        app,
        "--interface",
        interface.value,
        *where,
        "--workers",
        "1",
        "--backlog",
        _BACKLOG,
    )


def _waitress(app: str, interface: Interface, listen: Listen) -> tuple[str, ...]:
    where = ("--unix-socket={socket}",) if listen is Listen.UNIX else ("--listen={host}:{port}",)
    return (
        *where,
        f"--channel-timeout={KEEP_ALIVE}",
        f"--backlog={_BACKLOG}",
        # Its default of 100 would stop accepting at 100 open connections, idle ones included.
        f"--connection-limit={_BACKLOG}",
        "--threads=8",
        "--trusted-proxy=*",
        "--trusted-proxy-headers=x-forwarded-for x-forwarded-host x-forwarded-proto x-forwarded-port",
        "--clear-untrusted-proxy-headers",
        app,
    )


def _daphne(app: str, interface: Interface, listen: Listen) -> tuple[str, ...]:
    where = {
        Listen.FD: ("--fd", "{fd}"),
        Listen.UNIX: ("-u", "{socket}"),
        Listen.TCP: ("-b", "{host}", "-p", "{port}"),
    }[listen]
    return (*where, "--proxy-headers", "--verbosity", "0", app)


PRESETS: Final[Mapping[Server, Preset]] = MappingProxyType(
    {
        Server.UVICORN: Preset(module="uvicorn", arguments=_uvicorn),
        Server.HYPERCORN: Preset(module="hypercorn", arguments=_hypercorn),
        Server.GUNICORN: Preset(module="gunicorn", arguments=_gunicorn),
        Server.GRANIAN: Preset(module="granian", arguments=_granian),
        # SIGTERM would cut it off in the middle of a request.
        Server.WAITRESS: Preset(module="waitress", arguments=_waitress, stop_signal=signal.SIGINT),
        # It takes every inherited socket for an IPv4 one and resets each connection of another kind.
        Server.DAPHNE: Preset(module="daphne", arguments=_daphne, transport=Transport.TCP),
    }
)
"""Every server but `command`, which is no preset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Command, signals and sockets of a pool's backends, from its table and its server's preset.

    Attributes:
        argv: program and arguments, with placeholders.
        listen: how backends are given their socket.
        transport: what an inherited socket is.
        stop_signal: what makes them finish and exit.
    """

    argv: tuple[str, ...]
    listen: Listen
    transport: Transport
    stop_signal: signal.Signals


def recipe(table: SupervisedPoolTable) -> Recipe:
    """Combine a pool's table with the preset of its server.

    `listen` and `interface` of the table are taken as they are: the configuration was checked against what
    the server can do.
    """
    if table.server is Server.COMMAND:
        # A program that is handed a file descriptor can be expected to take any stream socket.
        return Recipe(
            argv=(*table.command, *table.args),
            listen=table.listen,
            transport=Transport.UNIX,
            stop_signal=signal.SIGTERM,
        )
    preset = PRESETS[table.server]
    arguments = preset.arguments(table.app, table.interface, table.listen)
    if preset.module == "waitress":
        # Its app has to be the last argument.
        *options, app = arguments
        arguments = (*options, *table.args, app)
    else:
        arguments = (*arguments, *table.args)
    return Recipe(
        argv=(table.python or sys.executable, "-m", preset.module, *arguments),
        listen=table.listen,
        transport=preset.transport,
        stop_signal=preset.stop_signal,
    )
