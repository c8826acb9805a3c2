"""The admin API without its connections: a request goes in, the response to it comes out.

The guard judges the head; then come route, parameters and act. A defect in an act becomes a 500 and a line in the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from http import HTTPStatus

import trio
from structlog.typing import FilteringBoundLogger

from hotswap.control.admin.call import AnyCall, Asked
from hotswap.control.admin.calls import CALLS
from hotswap.control.admin.guard import MOST_DROPPED, MOST_READ, Guard
from hotswap.control.admin.messages import AdminRequest, AdminResponse
from hotswap.control.admin.parameters import read_parameters
from hotswap.control.admin.problems import problem, problem_of
from hotswap.control.process.verbs import Verbs
from hotswap.control.telemetry.metrics import Metrics
from hotswap.core.errors import ProxyError


class Application:
    """The calls of the admin API over a running proxy."""

    def __init__(self, verbs: Verbs, guard: Guard, log: FilteringBoundLogger, *, ending: trio.Event) -> None:
        """Answer for a proxy; `ending` is set when the server is about to end, so that streams end too."""
        self._asked = partial(
            Asked, verbs=verbs, metrics=Metrics(verbs.tally, verbs.status), ending=ending, trusts=guard.trusts
        )
        self._guard = guard
        self._log = log

    def judge(self, request: AdminRequest) -> AdminResponse | None:
        """Say, by its head alone, why a request is not served; None when it is."""
        return self._guard.judge(request, most_body=MOST_READ if self.reads_body(request) else MOST_DROPPED)

    def reads_body(self, request: AdminRequest) -> bool:
        """Tell whether a request needs its body to be answered; it has at most `MOST_READ` bytes."""
        return any(_serves(call, request.method) and call.reads_body for call, _ in _calls_of(request))

    async def answer(self, request: AdminRequest) -> AdminResponse:
        """Do what is asked, and give the response; nothing but cancellation is raised.

        **Cancellation** abandons the call; what it has begun in the proxy goes on.
        """
        try:
            return await self._route(request)
        except ProxyError as error:
            self._log.info("admin.refused", method=request.method, path=request.path, detail=error.detail)
            return problem_of(error)
        except Exception as error:
            self._log.error("admin.failed", method=request.method, path=request.path, exc_info=error)
            return problem(500, "internal", "the call failed inside the proxy; its log says why")

    async def _route(self, request: AdminRequest) -> AdminResponse:
        found = _calls_of(request)
        for call, parts in found:
            if _serves(call, request.method):
                given = read_parameters(call.takes, request)
                return await call.act(self._asked(request=request, parts=parts, given=given))
        state = {"method": request.method, "path": request.path}
        if not found:
            return _not_served(404, "not-found", state)
        return _not_served(405, "method-not-allowed", state, allow=(call for call, _ in found))


def _calls_of(request: AdminRequest) -> list[tuple[AnyCall, dict[str, str]]]:
    """Give the calls of a path, each with the parts of it that its template names."""
    return [(call, parts) for call in CALLS if (parts := call.match(request.segments)) is not None]


def _serves(call: AnyCall, method: str) -> bool:
    # RFC 9110 9.1: HEAD where GET is, but for a stream, which has no end to wait for.
    return method == call.method or (method == "HEAD" and call.method == "GET" and not call.endless)


def _not_served(status: int, code: str, state: Mapping[str, object], *, allow: Iterable[AnyCall] = ()) -> AdminResponse:
    methods = sorted({method for call in allow for method in ("GET", "HEAD", "POST") if _serves(call, method)})
    detail = f"{state['method']} {state['path']}: {HTTPStatus(status).phrase}"
    return problem(status, code, detail, state, fields={"Allow": ", ".join(methods)} if methods else None)
