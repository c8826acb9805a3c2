"""One call of the admin API: how it is asked for, what it takes, what it may answer, and what it does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import trio

from hotswap.control.admin.messages import AdminRequest, AdminResponse
from hotswap.control.admin.parameters import BODY, Parameters, places_of
from hotswap.control.process.verbs import Verbs
from hotswap.control.telemetry.metrics import Metrics

P = TypeVar("P", bound=Parameters)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked(Generic[P]):
    """A request that has found its call.

    Attributes:
        request: its head.
        parts: the parts of the path that the template names, such as the pool.
        given: its parameters.
        verbs: the running proxy.
        metrics: what a scrape gives.
        ending: set when the server is about to end, so that streams end too.
        trusts: whether whoever sent a request may see more than what is told without a token.
    """

    request: AdminRequest
    parts: Mapping[str, str]
    given: P
    verbs: Verbs
    metrics: Metrics
    ending: trio.Event
    trusts: Callable[[AdminRequest], bool]


Act = Callable[[Asked[P]], Awaitable[AdminResponse]]


@dataclass(frozen=True, slots=True)
class Call(Generic[P]):
    """One row of the table of calls; routing, validation, the OpenAPI document and the tests of the docs read it.

    Attributes:
        method: GET or POST; HEAD is answered where GET is.
        path: template; `{pool}` stands for one segment, which is not empty.
        name: of the operation.
        summary: what it does, in a few words.
        act: does it.
        takes: its parameters.
        answers: for each status of success the name of a shape in `docs/tools/api_documents.py`, or a media type where
            it is no JSON.
        problems: the statuses of what can be wrong.
        endless: its answer has no end that a HEAD could wait for.
        described: whether the OpenAPI document has it; files of the page are no calls.
    """

    method: str
    path: str
    name: str
    summary: str
    act: Act[P]
    takes: type[P]
    answers: Mapping[int, str]
    problems: tuple[int, ...] = ()
    endless: bool = False
    described: bool = True
    segments: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "segments", tuple(self.path.split("/")[1:]))

    @property
    def reads_body(self) -> bool:
        """Whether it takes something in the body of its request."""
        return BODY in places_of(self.takes).values()

    def match(self, segments: tuple[str, ...]) -> dict[str, str] | None:
        """Give the parts of a path that the template names; None for a path of another call."""
        if len(segments) != len(self.segments):
            return None
        parts: dict[str, str] = {}
        for template, segment in zip(self.segments, segments, strict=True):
            if template.startswith("{"):
                if not segment:
                    return None
                parts[template[1:-1]] = segment
            elif template != segment:
                return None
        return parts


AnyCall = Call[Any]
