"""Hypercorn as a peer for HTTP/2: no proxy, it answers by itself, from the smallest app there is, on uvloop.

What a proxy in Python can hope for: the same h2 below, and no backend to ask.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from tests.bench.proxies.setup import ADDRESS, Setup
from tests.bench.running import Command
from tests.bench.tools import Tool, ToolMissing

_PROJECT = Path(__file__).resolve().parents[3]


def configure_hypercorn(setup: Setup) -> Command:
    """Write the configuration and return how to start it.

    Raises:
        ToolMissing: Hypercorn or uvloop is not installed.
    """
    if not all(importlib.util.find_spec(name) for name in ("hypercorn", "uvloop")):
        raise ToolMissing(Tool.HYPERCORN)
    configuration = f"""
bind = ["{ADDRESS}:{setup.tls_port}"]
insecure_bind = ["{ADDRESS}:{setup.plain_port}"]
certfile = "{setup.certificate}"
keyfile = "{setup.key}"
worker_class = "uvloop"
workers = 1
accesslog = "{setup.access_log}"
errorlog = "-"
loglevel = "INFO"
backlog = 4096
keep_alive_max_requests = 1000000000
keep_alive_timeout = 75
h2_max_concurrent_streams = 100
"""
    path = setup.write("hypercorn.toml", configuration)
    return Command(
        argv=(sys.executable, "-m", "hypercorn", "--config", path, "tests.bench.hello:app"), directory=_PROJECT
    )
