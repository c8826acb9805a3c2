"""HAProxy as a peer: one thread, in the foreground, its access log on stdout, which is a file."""

from __future__ import annotations

from tests.bench.proxies.setup import ADDRESS, CONNECTION_LIMIT, STREAM_PREFIX, Setup
from tests.bench.running import Command
from tests.bench.tools import Tool, find_tool


def configure_haproxy(setup: Setup) -> Command:
    """Write the configuration and return how to start it.

    Raises:
        ToolMissing: HAProxy is not installed.
    """
    bundle = setup.write("bundle.pem", setup.certificate.read_text() + setup.key.read_text())
    # Strict limits refuse to start where twice maxconn descriptors are not allowed; upstream there are far
    # fewer connections than downstream here.
    configuration = f"""
global
    nbthread 1
    maxconn {CONNECTION_LIMIT}
    no strict-limits
    log stdout format raw local0
    ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
    mode http
    log global
    option httplog
    option forwardfor
    http-reuse always
    timeout connect 5s
    timeout client 75s
    timeout server 75s
    timeout http-keep-alive 75s
    timeout tunnel 1h
frontend public
    bind {ADDRESS}:{setup.plain_port} backlog 4096
    bind {ADDRESS}:{setup.tls_port} ssl crt {bundle} alpn h2,http/1.1 backlog 4096
    use_backend stream if {{ path_beg {STREAM_PREFIX} }}
    default_backend origin
backend origin
    server origin unix@{setup.origin} pool-max-conn 1024
backend stream
    server stream unix@{setup.stream} pool-max-conn 64
"""
    binary = str(find_tool(Tool.HAPROXY))
    return Command(argv=(binary, "-db", "-f", setup.write("haproxy.cfg", configuration)))
