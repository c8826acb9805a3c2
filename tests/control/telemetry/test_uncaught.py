"""Exceptions that nobody can catch are lines of the log."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import threading
from hotswap.control.telemetry.logs import configure_logs
from hotswap.control.telemetry.uncaught import log_uncaught

class Dying:
    def __del__(self):
        raise ValueError("in a finalizer")

def run():
    raise ValueError("in a thread")

stream = configure_logs(level="info", log_format="json")
log_uncaught()
dying = Dying()
del dying
thread = threading.Thread(target=run, name="worker")
thread.start()
thread.join()
stream.close()
"""


def test_what_is_raised_where_nobody_catches_is_logged():
    """One line each, with where it was, and nothing else on stderr."""

    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=30, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(line["event"], line["level"], line["error"]) for line in lines] == [
        ("defect", "error", "ValueError('in a finalizer')"),
        ("defect", "error", "ValueError('in a thread')"),
    ]
    assert lines[0]["where"].endswith(" function")
    assert lines[1]["where"] == "worker"
    assert done.stdout == ""
