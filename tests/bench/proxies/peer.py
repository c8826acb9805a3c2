"""A proxy of the run: started, and shown to do what the comparison takes for granted."""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import assert_never

from tests.bench.origin import SMALL_BODY
from tests.bench.proxies.caddy import configure_caddy
from tests.bench.proxies.envoy import configure_envoy
from tests.bench.proxies.haproxy import configure_haproxy
from tests.bench.proxies.hotswap import configure_hotswap, configure_supervised
from tests.bench.proxies.hypercorn import configure_hypercorn
from tests.bench.proxies.nginx import configure_nginx
from tests.bench.proxies.setup import Setup
from tests.bench.running import Command, NotServing, Running, open_process, wait_serving

# Envoy writes out what it logged every 200 ms as we start it, every 10 s of its own accord.
_LOG_TIMEOUT = 5.0
_POLL_INTERVAL = 0.02


class ProxyName(StrEnum):
    """The proxies that are compared."""

    HOTSWAP = "hotswap"
    NGINX = "nginx"
    HAPROXY = "haproxy"
    ENVOY = "envoy"
    CADDY = "caddy"
    HYPERCORN = "hypercorn"
    """No proxy: it answers by itself, in the cases of HTTP/2."""


class Front(StrEnum):
    """What a proxy stands in front of."""

    NGINX = "nginx"
    DEMO = "demo"
    SUPERVISED = "supervised"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A proxy that serves."""

    name: ProxyName
    running: Running
    setup: Setup


@contextlib.contextmanager
def open_peer(name: ProxyName, setup: Setup, *, front: Front, processors: Collection[int]) -> Iterator[Peer]:
    """Start a proxy bound to ``processors`` (empty: any), and end it on the way out.

    Raises:
        ToolMissing: it is not installed.
        NotServing: it does not start, or does not do its work.
    """
    setup.directory.mkdir(parents=True)
    command = _configure(name, setup, front)
    with open_process(command, name=name.value, directory=setup.directory, processors=processors) as running:
        wait_serving(running, port=setup.plain_port)
        if front is Front.NGINX:
            _check(name, setup, access_log_of(name, running, setup))
        yield Peer(name=name, running=running, setup=setup)


def access_log_of(name: ProxyName, running: Running, setup: Setup) -> Path:
    """Return the file in which a proxy logs requests; HAProxy can only log to its stdout."""
    return running.log if name is ProxyName.HAPROXY else setup.access_log


def _configure(name: ProxyName, setup: Setup, front: Front) -> Command:
    match name:
        case ProxyName.HOTSWAP:
            return configure_supervised(setup) if front is Front.SUPERVISED else configure_hotswap(setup)
        case ProxyName.NGINX:
            return configure_nginx(setup)
        case ProxyName.HAPROXY:
            return configure_haproxy(setup)
        case ProxyName.ENVOY:
            return configure_envoy(setup)
        case ProxyName.CADDY:
            return configure_caddy(setup)
        case ProxyName.HYPERCORN:
            return configure_hypercorn(setup)
        case unreachable:
            assert_never(unreachable)


def _check(name: ProxyName, setup: Setup, access_log: Path) -> None:
    """See that the body comes through, X-Forwarded-For is added, and the request is logged."""
    body = _get(setup.plain_port, "/")
    if body != SMALL_BODY:
        raise NotServing(f"{name} answers with another body: {body[:100]!r}")
    if name is not ProxyName.HYPERCORN:
        _check_forwarded(name, _get(setup.plain_port, "/forwarded"))
    deadline = time.monotonic() + _LOG_TIMEOUT
    while not (access_log.exists() and access_log.stat().st_size):
        if time.monotonic() > deadline:
            raise NotServing(f"{name} does not log requests to {access_log}")
        time.sleep(_POLL_INTERVAL)


def _check_forwarded(name: ProxyName, forwarded: bytes) -> None:
    try:
        # Not compared: to Envoy a client on loopback is itself, and it adds the address of its host.
        ipaddress.ip_address(forwarded.decode())
    except ValueError as error:
        raise NotServing(f"{name} sends X-Forwarded-For {forwarded[:100]!r}") from error


def _get(port: int, path: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()
