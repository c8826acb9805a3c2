"""The shapes of the admin API's answers, for `/openapi.json`.

They describe and do not filter: answers are written from the state itself, so a model that lags behind can
make the description incomplete, never the answer. `tests/control/admin/test_api_documents.py` holds them together.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from hotswap.core.http.exchange_view import ExchangeView
from hotswap.core.pool.lifecycle import BackendState, Health
from hotswap.core.pool.outlook import Outlook
from hotswap.core.rollout.report import RolloutReport


class Document(BaseModel):
    """Answers may gain keys; they do not lose or change them."""

    model_config = ConfigDict(extra="allow")


class ProblemDocument(Document):
    """Why something was not done (RFC 9457)."""

    type: str = Field(description="always about:blank; `code` tells problems apart")
    title: str = Field(description="the phrase of the status")
    status: int
    code: str = Field(description="stable word for programs; the refusal codes, and those listed in the reference")
    detail: str = Field(description="one sentence for people")
    state: dict[str, object] = Field(description="the facts that were found")


class BackendDocument(Document):
    """What fills a slot."""

    id: int
    generation: int
    state: BackendState
    health: Health
    in_flight: int
    served: int = Field(description="exchanges it was given since this proxy process knows it")
    connections: int
    pid: int | None
    address: str
    since: str = Field(description="when it came into this state")
    release: str | None = Field(description="the resolved directory it was started in; null in a static pool")
    status: str = Field(description="what it said by STATUS=")
    drain_left: float | None = Field(description="seconds until its drain times out, or null")
    uptime: float | None = Field(description="seconds since its process was started; null in a static pool")
    memory: int | None = Field(description="resident bytes of its process and those that it started, or null")
    waiting_for: list[ExchangeView] = Field(description="what its drain waits for, the oldest ten")


class SlotDocument(Document):
    """One place in a pool; it holds two backends while one is replaced, and none between crashes."""

    slot: int
    hopeful: bool = Field(description="a backend that can serve is there or is coming")
    failed_starts: int = Field(description="of one generation, in a row")
    attempts: int = Field(description="those and crashes soon after a start, in a row; 0 when a backend is ready")
    last_error: str | None = Field(description="one line: why it is not well; null when it is")
    exit: str | None = Field(description="how the last process in it ended, where that is why; null when it is well")
    next_try: str | None = Field(description="when the next start is due, while one waits for its time")
    drained: bool = Field(description="an operator has taken it out of rotation")
    release: str | None = Field(description="the directory that its next respawn is started in; null in a static pool")
    backends: list[BackendDocument]


class AnswerDocument(Document):
    """What requests for a paused pool are answered."""

    status: int
    page: bool = Field(description="an operator gave a page for browsers")


class PoolDocument(Document):
    """A pool now."""

    size: int
    supervised: bool
    generation: int
    locked: str | None = Field(description="why, or null")
    paused: bool
    answer: AnswerDocument | None = Field(description="what requests get while it is paused; null: they are held")
    outlook: Outlook = Field(description="what a request can expect now")
    compatibility: str | None
    held: int = Field(description="requests waiting for a backend")
    spooled: int = Field(description="bytes of requests and responses that wait in files")
    directories: list[str] = Field(
        description="of the releases whose files are answered, in the order in which they are asked"
    )
    slots: list[SlotDocument]
    rollout: str | None = Field(description="the id of the one in progress, or null")


class Timeouts(Document):
    """Seconds, from the pool's definition."""

    start: float
    drain: float
    stop: float


class PoolDetailDocument(PoolDocument):
    """A pool now, by itself."""

    name: str
    timeouts: Timeouts | None = Field(description="null for a static pool")


class ListenerDocument(Document):
    """A listener now."""

    bind: list[str]
    urls: list[str] = Field(description="where a browser reaches it")
    connections: int


class RouteDocument(Document):
    """What answers the requests of some hosts and paths: a pool, files, both, or a redirect."""

    hosts: list[str] = Field(description="empty: any")
    path: str
    pool: str = Field(description="empty: none is asked")
    files: str = Field(description="directory, relative to the releases of the pool or absolute; empty: none")
    redirect: str = Field(description="scheme and host to go to; empty: nowhere")


class CertificateDocument(Document):
    """A certificate in use."""

    listener: str
    names: list[str]
    expires: str
    file: str | None = Field(description="null for one that the proxy issued itself")


class StatusDocument(Document):
    """The proxy now."""

    version: str
    pid: int
    started: str
    config: str
    ready: bool = Field(description="as /readyz")
    stopping: bool
    generation: int = Field(description="number of this process among those that took over from each other")
    takeover: str | None = Field(description="where the takeover of this process is, while there is one")
    predecessors: int = Field(description="processes before this one that still serve clients")
    pools: dict[str, PoolDocument]
    listeners: dict[str, ListenerDocument]
    routes: list[RouteDocument] = Field(description="in the order of the file")
    certificates: list[CertificateDocument]


class RefusalDocument(Document):
    """Why a pool was left out of a reload."""

    code: str
    detail: str
    state: dict[str, object]


class ReloadDocument(Document):
    """What became of a reload."""

    rollouts: list[RolloutReport] = Field(description="accepted, in the order in which they run")
    refusals: dict[str, RefusalDocument] = Field(description="pools that stay as they are")
    changes: list[str] = Field(description="what else the configuration changed")


class AppliedDocument(ReloadDocument):
    """What became of a configuration that was read again."""

    certificates: list[CertificateDocument] = Field(description="those in use from now on, as they were loaded")
    down: list[str] = Field(description="pools in which nothing serves, left as they are: they have not changed")


class RolloutsDocument(Document):
    """The rollouts that are remembered, the newest last."""

    rollouts: list[RolloutReport]


TrafficRow = tuple[int, int, int, float, float]
"""Tick, requests, errors (5xx), and the seconds within which half and all but a hundredth of them were served."""


class PoolTrafficDocument(Document):
    """What a pool has served; ticks without traffic have no row."""

    samples: list[TrafficRow] = Field(description="of the whole pool: [tick, requests, errors, p50, p99]")
    generations: dict[str, list[TrafficRow]] = Field(
        description="the same by generation; 0 stands for what no backend has taken"
    )


class TrafficDocument(Document):
    """The last minutes of traffic."""

    tick: int = Field(description="number of the newest tick; it starts anew with each proxy process")
    at: str = Field(description="when that was")
    interval: float = Field(description="seconds from tick to tick")
    kept: int = Field(description="how many ticks back samples are kept")
    pools: dict[str, PoolTrafficDocument]


class SlotOrderDocument(Document):
    """The slot after the order."""

    pool: str
    slot: SlotDocument


class ChangeDocument(Document):
    """Whether a verb changed anything."""

    pool: str
    changed: bool = Field(description="false when it was so already")


class PauseDocument(ChangeDocument):
    """What a pause did."""

    answer: AnswerDocument | None = Field(default=None, description="what requests get; left out: they are held")


class UnlockDocument(Document):
    """What the end of a lock did."""

    pool: str
    changed: bool = Field(description="false when it was not locked")
    refilled: list[int] = Field(description="slots that were empty; each is started again from the release it had")
    serving: list[int] = Field(description="slots that serve; when there are none, a reload repairs the pool")


class AbortDocument(Document):
    """Which rollout was asked to end."""

    pool: str
    rollout: str | None = Field(description="null when none was in progress")


class TakeoverDocument(Document):
    """The new process has everything."""

    outcome: Literal["done"]
    generation: int = Field(description="number of the process that serves now, counted from the first")
    pid: int
    version: str


class StopDocument(Document):
    """The proxy stops."""

    stopping: Literal[True]


class LivenessDocument(Document):
    """The process answers."""

    status: Literal["live"]


class ReadinessDocument(Document):
    """Every pool has a backend that can serve."""

    status: Literal["ready"]
