"""What the admin API answers when it does not do what it was asked: problem documents (RFC 9457).

Each has a `code`, the stable word for programs; a `detail`, the sentence for people; and a `state`, the facts
that were found. Errors of this program know their status and words already; this module only writes them
down.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from proxy.control.admin.answers import JsonResponse
from proxy.core.errors import ConfigError, NotFound, PoolNotStarted, ProxyError, RefusalCode, Refused
from proxy.core.printable import bounded, bounded_value

MEDIA_TYPE = "application/problem+json"


class ProblemResponse(JsonResponse):
    """An answer whose body is a problem document."""

    media_type = MEDIA_TYPE

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        state: Mapping[str, object] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Write it down.

        Args:
            status: of the answer.
            code: stable, lower-case, with dashes.
            detail: one sentence.
            state: the facts found, ready for JSON.
            headers: further fields of the answer.
        """
        document: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(status).phrase,
            "status": status,
            "code": code,
            "detail": bounded(detail),
            "state": bounded_value(dict(state or {})),
        }
        super().__init__(document, status_code=status, headers=None if headers is None else dict(headers))


def problem_of(error: ProxyError) -> ProblemResponse:
    """Give the answer to an error of this program."""
    match error:
        case Refused():
            return ProblemResponse(error.status, error.code.value, error.detail, error.state)
        case NotFound():
            return ProblemResponse(error.status, error.code, error.detail, {"known": list(error.known)})
        case ConfigError():
            problems = [problem.to_json() for problem in error.problems]
            return ProblemResponse(error.status, RefusalCode.CONFIG_INVALID.value, error.detail, {"problems": problems})
        case PoolNotStarted():
            state = {"pool": error.pool, "output": list(error.output)}
            return ProblemResponse(error.status, error.code, error.detail, state)
        case _:
            return ProblemResponse(500, "internal", error.detail)
