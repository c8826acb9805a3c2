"""Loads made by wrk: small exchanges as fast as they go, or paced."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.bench.outcome import Outcome
from tests.bench.tools import Tool, find_tool

_SCRIPT = Path(__file__).with_name("report.lua")
_MARK = "BENCH "
_MICROSECOND = 1e-6
# wrk waits for its timeouts and then ends by itself; this only bounds a wrk that hangs.
_GRACE = 30.0


class WrkFailed(Exception):
    """wrk ended without a result; the message has what it printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrkLoad:
    """One wrk thread sending one request again and again.

    Attributes:
        path: what is asked for.
        connections: how many are kept busy.
        tls: speak TLS.
        close: one connection for each request.
        post_bytes: send a POST with a body of this size instead of a GET.
        pause_ms: each connection rests about this long between requests; that keeps below saturation.
    """

    path: str = "/"
    connections: int
    tls: bool = False
    close: bool = False
    post_bytes: int = 0
    pause_ms: int = 0


def run_wrk(load: WrkLoad, *, port: int, seconds: float) -> Outcome:
    """Send ``load`` to loopback ``port`` for about ``seconds`` (whole seconds, at least one).

    Raises:
        ToolMissing: wrk is not installed.
        WrkFailed: wrk brought no result.
    """
    duration = max(1, round(seconds))
    scheme = "https" if load.tls else "http"
    command = [str(find_tool(Tool.WRK)), "-t1", f"-c{load.connections}", f"-d{duration}s", "--timeout", "5s"]
    command += ["-s", str(_SCRIPT)]
    if load.close:
        command += ["-H", "Connection: close"]
    command.append(f"{scheme}://127.0.0.1:{port}{load.path}")
    environment = {
        "PATH": "/usr/bin:/bin",
        "BENCH_BODY_BYTES": str(load.post_bytes),
        "BENCH_PAUSE_MS": str(load.pause_ms),
    }
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=duration + _GRACE, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise WrkFailed(f"wrk hung: {' '.join(command)}") from error
    lines = [line.removeprefix(_MARK) for line in done.stdout.splitlines() if line.startswith(_MARK)]
    if not lines:
        raise WrkFailed(f"{' '.join(command)} exited with {done.returncode}: {done.stdout}{done.stderr}")
    return parse_report(lines[0], post_bytes=load.post_bytes)


def parse_report(line: str, *, post_bytes: int = 0) -> Outcome:
    """Turn the line of ``report.lua`` into an outcome; ``post_bytes`` were sent with each request."""
    report = json.loads(line)
    errors = {kind: int(report[kind]) for kind in ("connect", "read", "write", "status", "timeout")}
    return Outcome(
        # wrk counts an answer with an error status as a request too.
        requests=max(0, report["requests"] - errors["status"]),
        seconds=report["microseconds"] * _MICROSECOND,
        body_bytes=report["requests"] * post_bytes,
        p50=report["p50"] * _MICROSECOND,
        p99=report["p99"] * _MICROSECOND,
        errors=sum(errors.values()),
        details={
            "worst": report["worst"] * _MICROSECOND,
            **{f"{k}_errors": v for k, v in errors.items() if v},
        },
    )
