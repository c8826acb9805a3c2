"""What the admin API answers when it does not do what it was asked: problem documents (RFC 9457).

Each has a `code`, the stable word for programs; a `detail`, the sentence for people; and a `state`, the facts
that were found. Errors of this program know their status and words already; this module only writes them
down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus

from hotswap.control.admin.messages import AdminResponse, write_json
from hotswap.core.errors import ProxyError
from hotswap.core.printable import bounded, bounded_value

MEDIA_TYPE = "application/problem+json"


def problem(
    status: int,
    code: str,
    detail: str,
    state: Mapping[str, object] | None = None,
    *,
    fields: Mapping[str, str] | None = None,
) -> AdminResponse:
    """Answer with a problem document.

    Args:
        code: stable, lower-case, with dashes.
        state: the facts found, ready for JSON.
        fields: further fields of the answer's head.
    """
    document = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": bounded(detail),
        "state": bounded_value(dict(state or {})),
    }
    return AdminResponse(status=status, media_type=MEDIA_TYPE, body=write_json(document), fields=fields or {})


class InvalidParameters(ProxyError):
    """Parameters of a call are not of their form: each as `path` and `allowed`."""

    status = 422
    code = "invalid-request"

    def __init__(self, problems: Sequence[Mapping[str, str]]) -> None:
        super().__init__("a parameter is not of its form")
        self.state = {"problems": list(problems)}


def problem_of(error: ProxyError) -> AdminResponse:
    """Answer to an error of this program."""
    if not error.code:
        return problem(500, "internal", error.detail)
    return problem(error.status, error.code, error.detail, error.state)
