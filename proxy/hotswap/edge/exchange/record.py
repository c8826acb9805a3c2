"""What is known of one exchange: what the ledger writes down, what an operator is shown, what decisions depend on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hotswap.edge.loop.timers import NEVER

if TYPE_CHECKING:
    from hotswap.core.errors import Side
    from hotswap.core.forwarding import Peer
    from hotswap.core.identity import BackendId
    from hotswap.core.messages import RequestHead
    from hotswap.core.pool.candidate import Candidate
    from hotswap.edge.exchange.gate import Gate
    from hotswap.edge.exchange.plane import Entrance, Plane
    from hotswap.edge.exchange.responder import Responder
    from hotswap.edge.upstream.carrier import Carrier
    from hotswap.edge.upstream.replay import Replay
    from hotswap.edge.upstream.upstream import Upstream


class Record:
    """The facts of an exchange; `hotswap.edge.exchange.exchange` is what happens to it.

    `request_done` says that the whole request has come from the client; `upstream` is set while a backend is claimed,
    `backend` stays the last that was. `retries` are all attempts after the first, `_counted` those that have a limit;
    since `free_since` it has been tried without being counted. Times are seconds of the data plane's clock.
    """

    __slots__ = (
        "_began",
        "_counted",
        "_excluded",
        "_fresh_only",
        "_in_budget",
        "_replay",
        "_sending",
        "_wait",
        "armed",
        "backend",
        "connection",
        "deadline",
        "error",
        "finished",
        "free_since",
        "gate",
        "head",
        "held_at",
        "held_seconds",
        "idle_timeout",
        "listener",
        "peer",
        "plane",
        "pool_name",
        "request_bytes",
        "request_done",
        "request_id",
        "responder",
        "response_bytes",
        "response_timeout",
        "retries",
        "sent_at",
        "side",
        "started",
        "status",
        "target",
        "upstream",
        "upstream_seconds",
        "written",
    )

    def __init__(self, plane: Plane, listener: Entrance, responder: Responder, head: RequestHead, peer: Peer) -> None:
        self.plane = plane
        self.listener = listener
        self.responder = responder
        self.head = head
        self.peer = peer
        self.started = plane.poller.now  # when it was ready to be read; what it waited for its turn is part of it
        self.request_done = head.complete
        self.idle_timeout = listener.idle_timeout
        self.target = head.target
        self.request_id = b""
        self.pool_name = ""
        self.gate: Gate | None = None
        self.backend: Candidate | None = None
        self.upstream: Upstream | None = None
        self.connection: Carrier | None = None
        self.status = self.request_bytes = self.response_bytes = self.retries = self._counted = self.written = 0
        self.response_timeout = self.held_at = self.held_seconds = self.sent_at = self.free_since = 0.0
        self.upstream_seconds = -1.0
        self.side: Side | None = None
        self.error = ""
        self.deadline, self.armed = math.inf, NEVER
        self.finished = self._began = self._sending = self._fresh_only = self._in_budget = self._wait = False
        self._replay: Replay | None = None
        self._excluded: tuple[BackendId, ...] = ()
