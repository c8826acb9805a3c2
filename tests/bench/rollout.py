"""A paced load on hotswap, first in peace, then while its pool is rolled again and again."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from tests.bench.outcome import Outcome
from tests.bench.wrk import WrkLoad, run_wrk

_ROLLOUT_TIMEOUT = 60.0
_RETRY_PAUSE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutLoad:
    """``busy`` must stay below saturation: there p99 tells the length of a queue, not what a rollout adds."""

    busy: WrkLoad


@dataclass(slots=True)
class _Rollouts:
    """What the thread that rolls has seen."""

    done: int = 0
    failures: list[str] = field(default_factory=list)


def run_rollouts(load: RolloutLoad, *, port: int, admin_port: int, seconds: float) -> Outcome:
    """Run ``load.busy`` twice for three times ``seconds`` on loopback ``port``; the outcome is that under rollouts.

    Returns:
        Details: ``steady_p99`` and ``steady_p50`` in seconds, ``rollouts`` completed. A rollout that failed
        counts as an error; a refusal does not, it is tried again.
    """
    run_wrk(load.busy, port=port, seconds=1)
    # Paced, a second has few requests, and p99 looks at one in a hundred of them.
    steady = run_wrk(load.busy, port=port, seconds=3 * seconds)
    with _rolling(admin_port) as rollouts:
        outcome = run_wrk(load.busy, port=port, seconds=3 * seconds)
    details = {"steady_p50": steady.p50, "steady_p99": steady.p99, "rollouts": float(rollouts.done)}
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


def _reload(admin_port: int) -> tuple[int, dict[str, object]]:
    connection = http.client.HTTPConnection("127.0.0.1", admin_port, timeout=_ROLLOUT_TIMEOUT)
    try:
        connection.request("POST", "/v1/pools/web/reload?wait=true")
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()
