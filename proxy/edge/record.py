"""What is known of one exchange: what the ledger writes down, what an operator is shown, what decisions depend on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.core.errors import Side
    from proxy.core.forwarding import Peer
    from proxy.core.identity import BackendId
    from proxy.core.messages import RequestHead
    from proxy.core.pool import Backend
    from proxy.edge.carrier import Carrier
    from proxy.edge.dataplane import DataPlane
    from proxy.edge.gate import Gate
    from proxy.edge.listener import Listener
    from proxy.edge.replay import Replay
    from proxy.edge.responder import Responder
    from proxy.edge.upstream import Upstream


class Record:
    """The facts of an exchange; `proxy.edge.exchange` is what happens to it.

    `request_done` says that the whole request has come from the client; `upstream` is set while a backend is claimed,
    `backend` stays the last that was. Times are seconds of the data plane's clock.
    """

    # What has not happened yet is read from the class: an exchange is made for every request.
    request_bytes = 0
    request_id = b""
    response_timeout = 0.0
    gate: Gate | None = None
    pool_name = ""
    backend: Backend | None = None
    upstream: Upstream | None = None
    connection: Carrier | None = None
    status = 0
    response_bytes = 0
    retries = 0
    held_at = 0.0
    held_seconds = 0.0
    written = 0
    sent_at = 0.0
    upstream_seconds = -1.0
    side: Side | None = None
    error = ""
    finished = False
    deadline = math.inf
    armed = math.inf
    _began = False
    _sending = False
    _replay: Replay | None = None
    _excluded: tuple[BackendId, ...] = ()
    _fresh_only = False
    _in_budget = False
    _wait = False

    def __init__(
        self, plane: DataPlane, listener: Listener, responder: Responder, head: RequestHead, peer: Peer
    ) -> None:
        self.plane = plane
        self.listener = listener
        self.responder = responder
        self.head = head
        self.peer = peer
        self.started = plane.clock()
        self.request_done = head.complete
        self.idle_timeout = listener.idle_timeout
        self.target = head.target
