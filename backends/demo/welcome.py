"""Prints suggestions when `make demo` is ready.

It waits until the proxy says so, at the admin address of `conf/demo.toml`, and gives up after a while: then there is
something to read in the log already.
"""

from __future__ import annotations

import argparse
import http.client
import signal
import time
from urllib.parse import urlsplit

PATIENCE = 60.0
"""Seconds for which it waits."""

POLL = 0.2

TEXT = """
The demo is ready. Try, in another terminal and in this directory:

  curl --cacert .hotswap/development-ca.pem https://localhost:8443/whoami
                                           who answers: process, slot, generation, release
  curl --insecure --json '{"text": "hello"}' https://localhost:8443/api/notes
                                           write a note; it outlives every backend
  curl --include http://localhost:8080/whoami
                                           the bounce listener: same host and path, by HTTPS
  echo two > conf/RELEASE && .venv/bin/hotswap reload --config conf/demo.toml
                                           replace both backends, one at a time, under their clients
  .venv/bin/hotswap status --config conf/demo.toml
                                           what runs; `hotswap events` shows what happens
  .venv/bin/hotswap stop --config conf/demo.toml
                                           the end; or ctrl-C here

  https://localhost:8443                   the notes, in a browser
  http://127.0.0.1:9900                    the page about the proxy
"""


def is_ready(admin: str) -> bool:
    """Ask a proxy whether every pool of it has a backend that serves."""
    connection = http.client.HTTPConnection(urlsplit(admin).netloc, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def main() -> None:
    """Wait, print, end."""
    parser = argparse.ArgumentParser(description="Wait for the demo, and say what to try next.")
    parser.add_argument("--admin", default="http://127.0.0.1:9900", help="where the proxy is asked whether it is ready")
    parser.add_argument("--patience", type=float, default=PATIENCE, help="seconds for which to wait")
    options = parser.parse_args()
    # A shell lets what it starts in the background ignore ctrl-C, and that is how the demo is ended.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    deadline = time.monotonic() + options.patience
    while not is_ready(options.admin):
        if time.monotonic() > deadline:
            return
        time.sleep(POLL)
    print(TEXT, flush=True)


if __name__ == "__main__":
    main()
