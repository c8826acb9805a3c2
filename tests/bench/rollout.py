"""A paced load on hotswap: in peace, while its pool is rolled again and again, and while only the machine is as busy.

Each rollout boots new backends, and a booting backend takes a processor from those that serve and from the client. On a
machine of two processors that alone is most of what a client notices; the third load tells it apart from the rollouts.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.bench.outcome import Outcome
from tests.bench.wrk import WrkLoad, run_wrk

BACKENDS = 2
"""How many the pool has."""
_BOOT_TIMEOUT = 20.0
_ROLLOUT_TIMEOUT = 60.0
_RETRY_PAUSE = 0.1
_POLL_INTERVAL = 0.02
_PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutLoad:
    """``busy`` must stay below saturation: there p99 tells the length of a queue, not what a rollout adds."""

    busy: WrkLoad


@dataclass(slots=True)
class _Rollouts:
    """What the thread that rolls has seen."""

    done: int = 0
    failures: list[str] = field(default_factory=list)


def run_rollouts(load: RolloutLoad, *, port: int, admin_port: int, seconds: float, backend: Sequence[str]) -> Outcome:
    """Run ``load.busy`` for three times ``seconds`` on loopback ``port``, three times; see the module.

    Args:
        load: what to run.
        port: of the proxy.
        admin_port: of its admin API.
        seconds: a third of the length of each load.
        backend: how to start a backend that nobody uses.

    Returns:
        The outcome under rollouts. Details: ``steady_p99`` and ``steady_p50`` in seconds, ``rollouts`` completed,
        ``boots_p99`` while as many backends were started as by the rollouts, but for nothing. A rollout that failed
        counts as an error; a refusal does not, it is tried again.
    """
    run_wrk(load.busy, port=port, seconds=1)
    # Paced, a second has few requests, and p99 looks at one in a hundred of them.
    steady = run_wrk(load.busy, port=port, seconds=3 * seconds)
    with _rolling(admin_port) as rollouts:
        outcome = run_wrk(load.busy, port=port, seconds=3 * seconds)
    boots = BACKENDS * max(1, rollouts.done)
    with _booting(backend, pause=3 * seconds / boots):
        booting = run_wrk(load.busy, port=port, seconds=3 * seconds)
    details = {
        "steady_p50": steady.p50,
        "steady_p99": steady.p99,
        "boots_p99": booting.p99,
        "rollouts": float(rollouts.done),
    }
    errors = outcome.errors + steady.errors + len(rollouts.failures) + (rollouts.done == 0)
    # The backends are the proxy's children and started anew: its own share cannot be told apart.
    return replace(outcome, errors=errors, processor_seconds=0.0, details={**outcome.details, **details})


@contextmanager
def _rolling(admin_port: int) -> Iterator[_Rollouts]:
    rollouts = _Rollouts()
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            try:
                status, body = _reload(admin_port)
            except (OSError, http.client.HTTPException, ValueError) as error:
                rollouts.failures.append(repr(error))
                return
            if status < http.HTTPStatus.BAD_REQUEST and body.get("outcome", "done") == "done":
                rollouts.done += 1
            elif status == http.HTTPStatus.CONFLICT:
                ended.wait(_RETRY_PAUSE)
            else:
                rollouts.failures.append(json.dumps(body))
                return

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield rollouts
    finally:
        ended.set()
        thread.join()


@contextmanager
def _booting(command: Sequence[str], *, pause: float) -> Iterator[None]:
    """Start a backend every ``pause`` seconds, and end each as soon as it serves."""
    ended = threading.Event()

    def work() -> None:
        due = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="boot-") as directory:
            while not ended.is_set():
                _boot([part.format(directory=directory) for part in command], Path(directory, "socket"))
                due += pause
                ended.wait(max(0.0, due - time.monotonic()))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _boot(command: Sequence[str], socket: Path) -> None:
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=_PROJECT) as process:
        until = time.monotonic() + _BOOT_TIMEOUT
        while not socket.exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(_POLL_INTERVAL)
        process.terminate()
    socket.unlink(missing_ok=True)


def _reload(admin_port: int) -> tuple[int, dict[str, object]]:
    connection = http.client.HTTPConnection("127.0.0.1", admin_port, timeout=_ROLLOUT_TIMEOUT)
    try:
        connection.request("POST", "/v1/pools/web/reload?wait=true")
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()
