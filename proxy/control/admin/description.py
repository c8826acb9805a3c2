"""What `/openapi.json` says: the calls of the application, and the shapes of what each answers.

It is written into `openapi.json` beside this module (`make docs`; a test fails while it is stale), so that neither a
start nor a call pays for the making of it, and nothing that serves imports this module.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI
from fastapi.routing import APIRoute

from proxy.control.admin import documents as shape
from proxy.control.admin.problems import MEDIA_TYPE
from proxy.control.version import program_version
from proxy.core.report import RolloutReport

Responses = dict[int | str, dict[str, Any]]


def _answers(status: int, model: Any, *problems: int, also: int | None = None) -> Responses:
    """Describe what a call answers.

    Args:
        status: when it was done.
        model: the shape of the answer.
        problems: the statuses of what can be wrong.
        also: another status with the same shape.
    """
    described: Responses = {status: {"model": model}}
    if also is not None:
        described[also] = {"model": model}
    for problem in problems:
        described[problem] = {"model": shape.ProblemDocument, "content": {MEDIA_TYPE: {}}}
    return described


def _text(media_type: str, description: str) -> Responses:
    return {200: {"content": {media_type: {}}, "description": description}}


ANSWERS: Final[Mapping[str, Responses]] = {
    "GET /": {},
    "GET /livez": _answers(200, shape.LivenessDocument),
    "GET /metrics": _text("text/plain", "A scrape."),
    "GET /readyz": _answers(200, shape.ReadinessDocument, 503),
    "GET /v1/events": _text("text/event-stream", "Never ends by itself."),
    "GET /v1/pools/{pool}": _answers(200, shape.PoolDetailDocument, 404),
    "GET /v1/rollouts": _answers(200, shape.RolloutsDocument),
    "GET /v1/rollouts/{id}": _answers(200, RolloutReport, 404),
    "GET /v1/status": _answers(200, shape.StatusDocument),
    "GET /v1/traffic": _answers(200, shape.TrafficDocument, 422),
    "POST /v1/config/reload": _answers(200, shape.ReloadDocument, 409, 422, also=202),
    "POST /v1/pools/{pool}/abort": _answers(200, shape.AbortDocument, 404, 409),
    "POST /v1/pools/{pool}/pause": _answers(200, shape.ChangeDocument, 404, 409),
    "POST /v1/pools/{pool}/reload": _answers(202, RolloutReport, 404, 409, 422, also=200),
    "POST /v1/pools/{pool}/resume": _answers(200, shape.ChangeDocument, 404, 409),
    "POST /v1/pools/{pool}/slots/{slot}/drain": _answers(200, shape.SlotOrderDocument, 404, 409),
    "POST /v1/pools/{pool}/slots/{slot}/readmit": _answers(200, shape.SlotOrderDocument, 404, 409),
    "POST /v1/pools/{pool}/unlock": _answers(200, shape.ChangeDocument, 404, 409),
    "POST /v1/reload": _answers(202, shape.ReloadDocument, 409, 422, also=200),
    "POST /v1/stop": _answers(202, shape.StopDocument),
    "POST /v1/takeover": _answers(200, shape.TakeoverDocument, 403, 409, 422, 500, 501),
}
"""What every call that is described answers."""


def write_description(application: FastAPI) -> str:
    """Give the text of `openapi.json`.

    Args:
        application: what serves the calls, whatever proxy it serves.

    Raises:
        KeyError: a call is not in `ANSWERS`.
    """
    described = FastAPI(
        title="hotswap admin API", summary="See the proxy, and give it orders.", version=program_version()
    )
    for route in application.routes:
        if isinstance(route, APIRoute) and route.include_in_schema:
            (method,) = (route.methods or set()) - {"HEAD"}
            described.add_api_route(
                route.path,
                route.endpoint,
                methods=[method],
                name=route.name,
                operation_id=route.operation_id,
                summary=route.summary,
                status_code=route.status_code,
                response_class=route.response_class,
                responses=ANSWERS[f"{method} {route.path}"],
            )
    return json.dumps(described.openapi(), indent=1, ensure_ascii=False) + "\n"
