"""What the calls of the admin API take besides their path: parameters of the query, and a field or a body where one is
meant.

One model a kind of call; what is sent and not named here is ignored, as web servers do, but in a body, where a key that
is misspelt would change what is ordered.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from hotswap.control.admin.messages import AdminRequest
from hotswap.control.admin.problems import InvalidParameters
from hotswap.core.pool.pause_answer import MAX_PAGE_BYTES, STATUSES, PauseAnswer
from hotswap.core.printable import bounded

HEADER = "header"
"""Mark of a parameter that is a field of the head."""
BODY = "body"
"""Mark of a parameter that is a key of the body, a JSON object."""


class Parameters(BaseModel):
    """Parameters of a call; none."""

    model_config = ConfigDict(frozen=True, defer_build=True)  # one that is never asked for costs no start


class ReloadParameters(Parameters):
    """Of whatever starts rollouts."""

    wait: Annotated[bool, Field(description="answer when it has ended")] = False


def _check_page(page: str) -> str:
    try:
        size = len(page.encode())
    except UnicodeEncodeError:
        raise ValueError("it is no text of Unicode") from None
    if size > MAX_PAGE_BYTES:
        raise ValueError(f"it has {size} bytes in UTF-8; {MAX_PAGE_BYTES} are allowed")
    return page


_Status = Annotated[int, Field(strict=True, ge=STATUSES.start, lt=STATUSES.stop)]
_Page = Annotated[str, Field(strict=True, min_length=1), AfterValidator(_check_page)]


class PauseParameters(Parameters):
    """Of a pause."""

    answer: Annotated[
        _Status | None,
        Field(
            description="status that requests are answered with at once; without it and a page, they are held",
            json_schema_extra={"in": BODY},
        ),
    ] = None
    page: Annotated[
        _Page | None,
        Field(
            description="HTML for clients that accept it, at most 1 MiB in UTF-8; without an answer, with 503",
            json_schema_extra={"in": BODY},
        ),
    ] = None

    @property
    def wanted(self) -> PauseAnswer | None:
        """What requests are answered; None: they are held."""
        if self.answer is None and self.page is None:
            return None
        return PauseAnswer(status=self.answer or 503, page=(self.page or "").encode())


class TakeoverParameters(Parameters):
    """Of a takeover."""

    executable: Annotated[str | None, Field(description="the new hotswap, or its interpreter")] = None
    config: Annotated[str | None, Field(description="path of the new configuration")] = None
    probation: Annotated[str, Field(description="while everything returns if the new process dies")] = "10s"
    drain_timeout: Annotated[str, Field(description="for clients of the old process")] = "300s"


class TrafficParameters(Parameters):
    """Of the traffic of the last minutes."""

    after: Annotated[int, Field(ge=0, description="only samples later than this tick")] = 0


class EventsParameters(Parameters):
    """Of the stream of events."""

    last_event_id: Annotated[
        str | None,
        Field(
            alias="Last-Event-ID",
            description="the last event seen; later ones are given",
            json_schema_extra={"in": HEADER},
        ),
    ] = None
    after: Annotated[int | None, Field(ge=0, description="the same, for those who cannot set fields")] = None

    @property
    def seen(self) -> int | None:
        """The number of the last event that the client has; None for one that wants only what comes."""
        if self.last_event_id is not None and self.last_event_id.isascii() and self.last_event_id.isdigit():
            return int(self.last_event_id[:18])
        return self.after


P = TypeVar("P", bound=Parameters)


def place_of(extra: Any) -> str:
    """Tell where a parameter is sent, by the extra of its field: in the query, or in a field of the head."""
    return str(extra["in"]) if isinstance(extra, dict) and "in" in extra else "query"


def places_of(model: type[Parameters]) -> dict[str, str]:
    """Tell for each parameter of a call where it is sent."""
    return {field.alias or name: place_of(field.json_schema_extra) for name, field in model.model_fields.items()}


def _read_body(request: AdminRequest, known: Collection[str]) -> Mapping[str, Any]:
    """Read a body with so many keys at most; empty for a call that takes nothing in it, or a request without one."""
    if not known or not request.body:
        return {}
    try:
        document = json.loads(request.body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise InvalidParameters([{"path": BODY, "allowed": "an object of JSON, or no body"}])
    unknown = [key for key in document if key not in known]
    if unknown:
        allowed = f"one of {', '.join(sorted(known))}"
        raise InvalidParameters([{"path": f"{BODY}.{bounded(key)}", "allowed": allowed} for key in unknown[:10]])
    return document


def read_parameters(model: type[P], request: AdminRequest) -> P:
    """Read what a call takes.

    Raises:
        InvalidParameters: one of them is not of its form; every such one is named.
    """
    given: dict[str, Any] = {}
    places = places_of(model)
    body = _read_body(request, {key for key, place in places.items() if place == BODY})
    for key, place in places.items():
        source: Mapping[str, Any] = {HEADER: request.fields, BODY: body}.get(place, request.query)
        sent = key.lower() if place == HEADER else key
        if sent in source:
            given[key] = source[sent]
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise InvalidParameters(
            [
                {"path": f"{places.get(str(one['loc'][0]), 'query')}.{one['loc'][0]}", "allowed": one["msg"]}
                for one in error.errors()
            ]
        ) from None
