"""Caddy as a peer: one thread that runs Go code, HTTP/1.1 and HTTP/2, no certificates of its own."""

from __future__ import annotations

from tests.bench.proxies.setup import ADDRESS, STREAM_PREFIX, Setup
from tests.bench.running import Command
from tests.bench.tools import Tool, find_tool


def configure_caddy(setup: Setup) -> Command:
    """Write the configuration and return how to start it.

    Raises:
        ToolMissing: Caddy is not installed.
    """
    transport = "transport http { \n keepalive_idle_conns 2048\n keepalive_idle_conns_per_host 2048\n }"
    site = f"""
    bind {ADDRESS}
    log {{
        output file {setup.access_log} {{
            roll_disabled
        }}
    }}
    handle {STREAM_PREFIX}* {{
        reverse_proxy unix/{setup.stream} {{
            flush_interval -1
        }}
    }}
    handle {{
        reverse_proxy unix/{setup.origin} {{
            {transport}
        }}
    }}
"""
    configuration = f"""
{{
    admin off
    auto_https off
    default_sni localhost
    grace_period 1s
    servers {{
        protocols h1 h2
    }}
}}
http://:{setup.plain_port} {{
{site}
}}
https://:{setup.tls_port} {{
    tls {setup.certificate} {setup.key}
{site}
}}
"""
    binary = str(find_tool(Tool.CADDY))
    path = setup.write("Caddyfile", configuration)
    return Command(
        argv=(binary, "run", "--adapter", "caddyfile", "--config", path),
        environment={
            "GOMAXPROCS": "1",
            "HOME": str(setup.directory),
            "XDG_DATA_HOME": str(setup.directory),
            "XDG_CONFIG_HOME": str(setup.directory),
        },
    )
