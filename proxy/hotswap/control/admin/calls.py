"""The table of calls: every path that the admin API answers, with what it takes, answers and does."""

from __future__ import annotations

from typing import Final

from hotswap.control.admin import acts
from hotswap.control.admin.call import Act, AnyCall, Call
from hotswap.control.admin.page import description_call, page_calls
from hotswap.control.admin.parameters import (
    EventsParameters,
    Parameters,
    PauseParameters,
    ReloadParameters,
    TakeoverParameters,
    TrafficParameters,
)


def _view(
    path: str, name: str, summary: str, act: Act[Parameters], shape: str, problems: tuple[int, ...] = ()
) -> AnyCall:
    return Call("GET", path, name, summary, act, Parameters, {200: shape}, problems)


def _order(path: str, summary: str, act: Act[Parameters], shape: str = "ChangeDocument") -> AnyCall:
    name = path.rpartition("/")[2]
    return Call("POST", f"/v1/pools/{{pool}}/{path}", name, summary, act, Parameters, {200: shape}, (404, 409))


CALLS: Final[tuple[AnyCall, ...]] = (
    *page_calls(),
    description_call(),
    _view("/v1/status", "status", "The state now", acts.status, "StatusDocument"),
    _view("/v1/pools/{pool}", "pool", "One pool now", acts.pool_now, "PoolDetailDocument", (404,)),
    _view("/v1/rollouts", "rollouts", "Rollouts, the newest last", acts.rollouts, "RolloutsDocument"),
    _view("/v1/rollouts/{id}", "rollout", "One rollout", acts.rollout_now, "RolloutReport", (404,)),
    Call(
        method="POST",
        path="/v1/reload",
        name="reload_all",
        summary="Read the configuration again and replace every supervised backend, as SIGUSR2",
        act=acts.reload_all,
        takes=ReloadParameters,
        answers={202: "ReloadDocument", 200: "ReloadDocument"},
        problems=(409, 422),
    ),
    Call(
        method="POST",
        path="/v1/pools/{pool}/reload",
        name="reload_pool",
        summary="Replace every backend of a pool",
        act=acts.reload_pool,
        takes=ReloadParameters,
        answers={202: "RolloutReport", 200: "RolloutReport"},
        problems=(404, 409, 422),
    ),
    Call(
        method="POST",
        path="/v1/config/reload",
        name="reread",
        summary="Read configuration and certificates again and reopen logs, as SIGHUP",
        act=acts.reread,
        takes=ReloadParameters,
        answers={200: "AppliedDocument", 202: "AppliedDocument"},
        problems=(409, 422),
    ),
    _order(
        "slots/{slot}/drain", "Take a slot out of rotation; its backend goes on living", acts.drain, "SlotOrderDocument"
    ),
    _order("slots/{slot}/readmit", "Bring a drained slot back into rotation", acts.readmit, "SlotOrderDocument"),
    Call(
        method="POST",
        path="/v1/pools/{pool}/pause",
        name="pause",
        summary="Hold the requests for a pool, or answer them at once",
        act=acts.pause,
        takes=PauseParameters,
        answers={200: "PauseDocument"},
        problems=(404, 409, 413, 415, 422),
    ),
    _order("resume", "Let them go on", acts.resume),
    _order(
        "unlock", "End the lock that a failed rollout left, and fill the slots again", acts.unlock, "UnlockDocument"
    ),
    _order("abort", "End the rollout of a pool as soon as that leaves no slot half-way", acts.abort, "AbortDocument"),
    Call(
        method="POST",
        path="/v1/takeover",
        name="takeover",
        summary="Hand listeners and backends to a new proxy process, and wait for the result",
        act=acts.takeover,
        takes=TakeoverParameters,
        answers={200: "TakeoverDocument"},
        problems=(403, 409, 422, 500),
    ),
    Call(
        method="POST",
        path="/v1/stop",
        name="stop",
        summary="Stop gracefully, as SIGTERM; a second time, at once",
        act=acts.stop,
        takes=Parameters,
        answers={202: "StopDocument"},
    ),
    Call(
        method="GET",
        path="/v1/traffic",
        name="traffic",
        summary="Requests, errors and latency of the last minutes, by pool and generation",
        act=acts.traffic,
        takes=TrafficParameters,
        answers={200: "TrafficDocument"},
        problems=(422,),
    ),
    Call(
        method="GET",
        path="/v1/events",
        name="events",
        summary="Every change of state, as server-sent events",
        act=acts.events,
        takes=EventsParameters,
        answers={200: "text/event-stream"},
        problems=(422,),
        endless=True,
    ),
    _view("/livez", "livez", "The process answers", acts.livez, "LivenessDocument"),
    _view("/readyz", "readyz", "Every pool has a backend that can serve", acts.readyz, "ReadinessDocument", (503,)),
    _view("/metrics", "scrape", "Prometheus", acts.scrape, "text/plain"),
)
"""Every call; the order is that of the OpenAPI document."""
