"""Loads made by h2load: HTTP/2 over TLS, small exchanges as fast as they go, many streams of a connection at once."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.bench.outcome import Outcome, percentile
from tests.bench.tools import Tool, find_tool

_MICROSECOND = 1e-6
_GRACE = 30.0
_FINISHED = re.compile(r"^finished in (?P<amount>[\d.]+)(?P<unit>us|ms|s)\b", re.MULTILINE)
_COUNTS = re.compile(r"(?P<count>\d+) (?P<kind>failed|errored|timeout)\b")
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_OK = "200"


class H2loadFailed(Exception):
    """h2load ended without a result, or did not speak HTTP/2; the message has what it printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class H2loadLoad:
    """One h2load thread: ``connections`` with ``streams`` busy on each, asking for ``path``."""

    path: str = "/"
    connections: int
    streams: int


def run_h2load(load: H2loadLoad, *, port: int, seconds: float) -> Outcome:
    """Send ``load`` to loopback ``port`` over TLS for about ``seconds`` (whole seconds, at least one).

    Raises:
        ToolMissing: h2load is not installed.
        H2loadFailed: it brought no result, or another protocol was spoken.
    """
    duration = max(1, round(seconds))
    command = [str(find_tool(Tool.H2LOAD)), "-t1", f"-c{load.connections}", f"-m{load.streams}", f"-D{duration}"]
    # By name: a certificate is chosen by the name that is asked for.
    url = f"https://localhost:{port}{load.path}"
    with tempfile.TemporaryDirectory(prefix="h2load-") as directory:
        log = Path(directory, "requests")
        command += [f"--log-file={log}", f"--connect-to=127.0.0.1:{port}", url]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=duration + _GRACE, check=False)
        except subprocess.TimeoutExpired as error:
            raise H2loadFailed(f"h2load hung: {' '.join(command)}") from error
        if done.returncode or "Application protocol: h2\n" not in done.stdout:
            raise H2loadFailed(f"{' '.join(command)} exited with {done.returncode}: {done.stdout}{done.stderr}")
        return parse_h2load(done.stdout, log.read_text(encoding="ascii"))


def parse_h2load(printed: str, log: str) -> Outcome:
    """Turn what h2load printed and its log (start, status, microseconds, a line for each request) into an outcome.

    Raises:
        H2loadFailed: it does not say how long it took.
    """
    finished = _FINISHED.search(printed)
    if finished is None:
        raise H2loadFailed(f"h2load printed {printed!r}")
    latencies = []
    refused = 0
    for line in log.splitlines():
        _, status, microseconds = line.split("\t")[:3]
        if status == _OK:
            latencies.append(int(microseconds) * _MICROSECOND)
        else:
            refused += 1
    # What failed as a stream has a line in the log too, what never became one has none: the larger count has all.
    # Streams that were open when the time was over are in neither.
    summary = next((line for line in printed.splitlines() if line.startswith("requests:")), "")
    broken = {match["kind"]: int(match["count"]) for match in _COUNTS.finditer(summary)}
    return Outcome(
        requests=len(latencies),
        seconds=float(finished["amount"]) * _UNITS[finished["unit"]],
        p50=percentile(latencies, 0.5),
        p99=percentile(latencies, 0.99),
        errors=max(refused, broken.get("failed", 0)) + broken.get("timeout", 0),
    )
