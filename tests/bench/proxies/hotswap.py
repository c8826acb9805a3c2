"""hotswap itself: the shipped configuration, with access log and metrics."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.bench.proxies.setup import ADDRESS, CONNECTION_LIMIT, STREAM_PREFIX, Setup
from tests.bench.rollout import BACKENDS
from tests.bench.running import Command

_PROJECT = Path(__file__).resolve().parents[3]


def configure_hotswap(setup: Setup) -> Command:
    """Write the configuration with static pools for both origins, and return how to start it."""
    pools = f"""
[[routes]]
path = "/"
pool = "origin"

[[routes]]
path = "{STREAM_PREFIX}"
pool = "stream"

[[routes]]
path = "/static/"
files = "{setup.write_static()}"

[pools.origin]
addresses = ["unix:{setup.origin}"]

[pools.stream]
addresses = ["unix:{setup.stream}"]
"""
    return _command(setup, pools)


def backend_command(setup: Setup, *listen: str) -> list[str]:
    """Return how a backend of the supervised pool is started, on the processors that are for it."""
    command = [sys.executable, "-m", "uvicorn", *listen, "--no-access-log", "tests.bench.hello:app"]
    if not setup.other_processors:
        return command
    return ["taskset", "--cpu-list", ",".join(map(str, sorted(setup.other_processors))), *command]


def configure_supervised(setup: Setup) -> Command:
    """Write the configuration with one supervised pool of two uvicorn backends called ``web``."""
    pools = f"""
[[routes]]
path = "/"
pool = "web"

[pools.web]
server = "command"
command = {json.dumps(backend_command(setup, "--fd", "3"))}
directory = "{_PROJECT}"
size = {BACKENDS}
"""
    return _command(setup, pools)


def _command(setup: Setup, pools: str) -> Command:
    # As for the peers: room for everybody, and no connection is ended for having served many requests.
    limits = f"limits = {{ connections = {CONNECTION_LIMIT}, requests_per_connection = 0 }}"
    configuration = f"""
[proxy]
state_dir = "{setup.directory}/state"
access_log = "{setup.access_log}"

[admin]
bind = ["{ADDRESS}:{setup.admin_port}"]

[listeners.plain]
bind = ["{ADDRESS}:{setup.plain_port}"]
{limits}

[listeners.tls]
bind = ["{ADDRESS}:{setup.tls_port}"]
tls = {{ certificates = [{{ cert = "{setup.certificate}", key = "{setup.key}" }}] }}
{limits}
{pools}
"""
    return Command(argv=(sys.executable, "-m", "hotswap", "run", setup.write("hotswap.toml", configuration)))
