"""What the calls of the admin API take besides their path: parameters of the query, and a field where one is meant.

One model a kind of call; what is sent and not named here is ignored, as web servers do.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hotswap.control.admin.messages import AdminRequest
from hotswap.control.admin.problems import InvalidParameters

HEADER = "header"
"""Mark of a parameter that is a field of the head."""


class Parameters(BaseModel):
    """Parameters of a call; none."""

    model_config = ConfigDict(frozen=True, defer_build=True)  # one that is never asked for costs no start


class ReloadParameters(Parameters):
    """Of whatever starts rollouts."""

    wait: Annotated[bool, Field(description="answer when it has ended")] = False


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


def read_parameters(model: type[P], request: AdminRequest) -> P:
    """Read what a call takes.

    Raises:
        InvalidParameters: one of them is not of its form; every such one is named.
    """
    given: dict[str, str] = {}
    places: dict[str, str] = {}
    for name, field in model.model_fields.items():
        key = field.alias or name
        places[key] = place_of(field.json_schema_extra)
        source, sent = (request.fields, key.lower()) if places[key] == HEADER else (request.query, key)
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
