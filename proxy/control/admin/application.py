"""The calls of the admin API, one function each.

A call finds its verb, calls it, and writes down what it gave; errors of this program become problems in one
place. Nothing here waits for the proxy except where the caller asked for it (`wait=true`). No GET changes
anything.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import trio
from fastapi import FastAPI, Header, Query, Request, Response
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from structlog.typing import FilteringBoundLogger

from proxy.control.admin.answers import JsonResponse
from proxy.control.admin.page import add_page
from proxy.control.admin.problems import ProblemResponse, problem_of
from proxy.control.admin.streaming import stream_events
from proxy.control.admin.verbs import Answer, Verbs
from proxy.control.admin.views import detail_of, find_pool, find_slot, report, reports, unready_reasons
from proxy.control.takeover.order import TakeoverFailed, TakeoverOrder, TakeoverResult
from proxy.control.telemetry.metrics import CONTENT_TYPE, Metrics
from proxy.core.errors import ProxyError
from proxy.core.quantities import parse_duration

CLI_AGENT = "hotswap-cli"
"""How the command line calls itself in `User-Agent`; a rollout's trigger tells it from other callers."""


def build_application(runtime: Verbs, log: FilteringBoundLogger, *, ending: trio.Event) -> FastAPI:
    """Make the application over a running proxy.

    Args:
        runtime: the proxy.
        log: where calls that change something are told.
        ending: set when the server is about to end, so that streams end too.
    """
    # What it answers is described in `description`, and pages that show that would load code from other hosts.
    application = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    _describe_problems(application, log)
    _add_views(application, runtime)
    _add_rollouts(application, runtime)
    _add_pool_verbs(application, runtime)
    _add_process_verbs(application, runtime)
    _add_observation(application, runtime, ending)
    add_page(application)
    _add_description(application)
    _answer_heads(application)
    return application


def _answer_heads(application: FastAPI) -> None:
    """Answer HEAD where GET is answered (RFC 9110 9.1), but for the stream, which has no end to wait for."""
    for route in application.routes:
        if isinstance(route, APIRoute) and route.methods == {"GET"} and route.path != "/v1/events":
            route.methods.add("HEAD")


def _add_description(application: FastAPI) -> None:
    """Serve what `description` has written, as it is: to make it takes a while, in which nobody is served."""
    content = files("proxy.control.admin").joinpath("openapi.json").read_bytes()

    @application.get("/openapi.json", include_in_schema=False)
    async def description() -> Response:
        return Response(content, media_type="application/json")


def _describe_problems(application: FastAPI, log: FilteringBoundLogger) -> None:
    @application.exception_handler(ProxyError)
    async def refuse(request: Request, error: Exception) -> Response:
        assert isinstance(error, ProxyError)
        log.info("admin.refused", method=request.method, path=request.url.path, detail=error.detail)
        return problem_of(error)

    @application.exception_handler(HTTPException)
    async def not_served(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "bad-request")
        state = {"method": request.method, "path": request.url.path}
        detail = f"{request.method} {request.url.path}: {error.detail}"
        return ProblemResponse(error.status_code, code, detail, state, headers=error.headers)

    @application.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        problems = [{"path": ".".join(map(str, one["loc"])), "allowed": one["msg"]} for one in error.errors()]
        return ProblemResponse(422, "invalid-request", "a parameter is not of its form", {"problems": problems})

    @application.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> Response:
        # Starlette raises it again after this, and `Containment` tells the log.
        return ProblemResponse(500, "internal", "the call failed inside the proxy; its log says why")


# Views.


def _add_views(application: FastAPI, runtime: Verbs) -> None:
    @application.get("/v1/status", summary="The state now")
    async def status() -> Response:
        await runtime.look()
        return JsonResponse(runtime.status())

    @application.get("/v1/pools/{pool}", summary="One pool now")
    async def pool_now(pool: str) -> Response:
        await runtime.look()
        return JsonResponse(detail_of(runtime, pool))

    @application.get("/v1/rollouts", summary="Rollouts, the newest last")
    async def rollouts() -> Response:
        return JsonResponse({"rollouts": reports(runtime.rollouts())})

    @application.get("/v1/rollouts/{id}", summary="One rollout")
    async def rollout_now(rollout: Annotated[str, InPath(alias="id")]) -> Response:
        return JsonResponse(report(runtime.rollout(rollout)))


# Reloads.

Agent = Annotated[str, Header(alias="User-Agent", include_in_schema=False)]
Wait = Annotated[bool, Query(description="answer when it has ended")]


def trigger_of(agent: str) -> str:
    """Tell who asks, by the word that reports use."""
    return "cli" if agent.startswith(CLI_AGENT) else "api"


async def answer_reload(runtime: Verbs, answer: Answer, *, wait: bool, started: int = 202) -> Response:
    """Write down what became of a reload of several pools; a refusal when nothing at all was accepted."""
    refusals = {pool: refused.to_json() for pool, refused in answer.refusals.items()}
    if refusals and not answer.rollouts and not answer.changes:
        first = next(iter(answer.refusals.values()))
        return ProblemResponse(first.status, first.code.value, first.detail, {**first.state, "refusals": refusals})
    if wait:
        for rollout in answer.rollouts:
            await runtime.wait_rollout(rollout.id)
    document = {"rollouts": reports(answer.rollouts), "refusals": refusals, "changes": list(answer.changes)}
    return JsonResponse(document, status_code=200 if wait or not answer.rollouts else started)


def _add_rollouts(application: FastAPI, runtime: Verbs) -> None:
    @application.post(
        "/v1/reload",
        status_code=202,
        summary="Read the configuration again and replace every supervised backend, as SIGUSR2",
    )
    async def reload_all(wait: Wait = False, agent: Agent = "") -> Response:
        return await answer_reload(runtime, await runtime.reload_all(trigger=trigger_of(agent)), wait=wait)

    @application.post(
        "/v1/pools/{pool}/reload",
        status_code=202,
        summary="Replace every backend of a pool",
    )
    async def reload_pool(pool: str, wait: Wait = False, agent: Agent = "") -> Response:
        rollout = await runtime.reload_pool(pool, trigger=trigger_of(agent))
        if wait:
            await runtime.wait_rollout(rollout.id)
        return JsonResponse(report(rollout), status_code=200 if wait else 202)

    @application.post(
        "/v1/config/reload",
        summary="Read configuration and certificates again and reopen logs, as SIGHUP",
    )
    async def reread(wait: Wait = False, agent: Agent = "") -> Response:
        answer = await runtime.reread_configuration(trigger=trigger_of(agent))
        return await answer_reload(runtime, answer, wait=wait)


# Verbs.


def _add_pool_verbs(application: FastAPI, runtime: Verbs) -> None:
    def slot_document(pool: str, number: int) -> Response:
        slots = find_pool(runtime, pool)["slots"]
        return JsonResponse({"pool": pool, "slot": next(one for one in slots if one["slot"] == number)})

    @application.post(
        "/v1/pools/{pool}/slots/{slot}/drain",
        summary="Take a slot out of rotation; its backend goes on living",
    )
    async def drain(pool: str, slot: str) -> Response:
        number = find_slot(runtime, pool, slot)
        runtime.drain(pool, number)
        return slot_document(pool, number)

    @application.post(
        "/v1/pools/{pool}/slots/{slot}/readmit",
        summary="Bring a drained slot back into rotation",
    )
    async def readmit(pool: str, slot: str) -> Response:
        number = find_slot(runtime, pool, slot)
        runtime.readmit(pool, number)
        return slot_document(pool, number)

    def add(verb: str, summary: str, act: Callable[[str], bool]) -> None:
        async def change(pool: str) -> Response:
            return JsonResponse({"pool": pool, "changed": act(pool)})

        application.add_api_route(
            f"/v1/pools/{{pool}}/{verb}",
            change,
            methods=["POST"],
            name=verb,
            operation_id=verb,
            summary=summary,
        )

    add("pause", "Hold the requests for a pool", runtime.pause)
    add("resume", "Let them go on", runtime.resume)
    add("unlock", "End the lock that a failed rollout left, and fill the slots again", runtime.unlock)

    @application.post(
        "/v1/pools/{pool}/abort",
        summary="End the rollout of a pool as soon as that leaves no slot half-way",
    )
    async def abort(pool: str) -> Response:
        return JsonResponse({"pool": pool, "rollout": runtime.abort(pool)})


def _add_process_verbs(application: FastAPI, runtime: Verbs) -> None:
    @application.post(
        "/v1/takeover",
        summary="Hand listeners and backends to a new proxy process, and wait for the result",
    )
    async def takeover(
        request: Request,
        executable: Annotated[str | None, Query(description="the new hotswap, or its interpreter")] = None,
        config: Annotated[str | None, Query(description="path of the new configuration")] = None,
        probation: Annotated[str, Query(description="while everything returns if the new process dies")] = "10s",
        drain_timeout: Annotated[str, Query(description="for clients of the old process")] = "300s",
    ) -> Response:
        start: Callable[[TakeoverOrder], Awaitable[TakeoverResult]] | None = getattr(runtime, "start_takeover", None)
        if start is None:
            return ProblemResponse(501, "not-implemented", "this proxy cannot hand over to a new process")
        named = executable is not None or config is not None
        if named and request.scope.get("server") is not None and not runtime.config.admin.token_file:
            # Over TCP, every user of this machine could have any program run in the name of this one.
            detail = "a program or a file can be named over a Unix socket, or with a token, and not otherwise"
            return ProblemResponse(403, "not-over-this-address", detail)
        try:
            order = TakeoverOrder(
                executable=executable,
                config=None if config is None else Path(config),
                probation=parse_duration(probation),
                drain_timeout=parse_duration(drain_timeout),
            )
        except ValueError as error:
            return ProblemResponse(422, "invalid-request", f"probation and drain_timeout: {error}")
        try:
            result = await start(order)
        except TakeoverFailed as failed:
            return ProblemResponse(500, "takeover-failed", str(failed), failed.result.to_json())
        return JsonResponse(result.to_json())

    @application.post(
        "/v1/stop",
        status_code=202,
        summary="Stop gracefully, as SIGTERM; a second time, at once",
    )
    async def stop() -> Response:
        runtime.stop()
        return JsonResponse({"stopping": True}, status_code=202)


# Observation.


def _add_observation(application: FastAPI, runtime: Verbs, ending: trio.Event) -> None:
    metrics = Metrics(runtime.tally, runtime.status)

    @application.get(
        "/v1/traffic",
        summary="Requests, errors and latency of the last minutes, by pool and generation",
    )
    async def traffic(
        after: Annotated[int, Query(ge=0, description="only samples later than this tick")] = 0,
    ) -> Response:
        return JsonResponse(runtime.traffic.tell(after))

    @application.get(
        "/v1/events",
        summary="Every change of state, as server-sent events",
        response_class=StreamingResponse,
    )
    async def events(
        last_event_id: Annotated[str | None, Header(description="the last event seen; later ones are given")] = None,
        after: Annotated[int | None, Query(ge=0, description="the same, for those who cannot set fields")] = None,
    ) -> Response:
        if last_event_id is not None and last_event_id.isascii() and last_event_id.isdigit():
            after = int(last_event_id[:18])
        return StreamingResponse(
            stream_events(runtime.events, after, ending=ending),
            media_type="text/event-stream",
            headers={"X-Accel-Buffering": "no"},
        )

    @application.get("/livez", summary="The process answers")
    async def livez() -> Response:
        return JsonResponse({"status": "live"})

    @application.get(
        "/readyz",
        summary="Every pool has a backend that can be claimed",
    )
    async def readyz() -> Response:
        if runtime.ready():
            return JsonResponse({"status": "ready"})
        reasons = unready_reasons(runtime.status()) or ["the proxy is starting or stopping"]
        return ProblemResponse(503, "not-ready", "; ".join(reasons), {"reasons": reasons})

    @application.get(
        "/metrics",
        summary="Prometheus",
        response_class=Response,
    )
    async def scrape() -> Response:
        return Response(metrics.text(), headers={"Content-Type": CONTENT_TYPE})
