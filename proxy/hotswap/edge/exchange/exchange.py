"""One request and its response: routed, given to a backend, relayed, retried where that is harmless, and recorded.

An exchange stands between a responder (the client's side: an HTTP/1.1 connection or one HTTP/2 stream) and an upstream
connection. Both call it from the poller; it never waits. Its life:

    start -> routed -> admitted by the gate (or held) -> connected -> request sent -> response relayed -> finished

The decisions are made by pure code: `hotswap.core.http.routing`, `Claims.claim`, `hotswap.core.http.retry`; this module
carries them out. A claim is released before the next one is made, and whoever waits holds none. Every exchange ends in
`finish`, once, where the claim is released and the record is written.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from hotswap.core.errors import ConnectFailed, NothingLeft, Side, UpstreamBroken, UpstreamTimedOut
from hotswap.core.http.forwarding import request_id_of
from hotswap.core.http.messages import IDEMPOTENT, Field, ResponseHead
from hotswap.core.http.retry import Failure, failure_of
from hotswap.edge.exchange.own_answer import send_own_answer
from hotswap.edge.exchange.reception import receive
from hotswap.edge.exchange.request_body import RequestBody
from hotswap.edge.exchange.response_head import finish_head
from hotswap.edge.exchange.response_spool import ResponseSpool, may_be_spooled
from hotswap.edge.exchange.retry_state import RetryState
from hotswap.edge.exchange.sendfile_answer import answer_named_file
from hotswap.edge.loop.timers import NEVER
from hotswap.edge.upstream.discarded import DISCARDED_BYTES, Discarded
from hotswap.edge.upstream.upstream_connection import UpstreamConnection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotswap.core.http.forwarding import Peer
    from hotswap.core.http.messages import RequestHead
    from hotswap.core.pool.candidate import Candidate
    from hotswap.core.pool.pause_answer import PauseAnswer
    from hotswap.edge.exchange.compressed_responder import CompressedResponder
    from hotswap.edge.exchange.entrance import Entrance
    from hotswap.edge.exchange.gate import Gate
    from hotswap.edge.exchange.route_rules import RouteRules
    from hotswap.edge.exchange.surroundings import ExchangePlane, Responder
    from hotswap.edge.loop.stream import Data
    from hotswap.edge.rules.rule_step import RuleStep
    from hotswap.edge.upstream.carrier import Carrier
    from hotswap.edge.upstream.upstream import Upstream

GONE_STATUS: Final = 499
"""What the record says when the client left before its answer was complete (nginx's number)."""


class Exchange:
    """One exchange, from its parsed request head to its access line.

    `request_done` says that the whole request has come from the client; `upstream` is set while a backend is claimed,
    `backend` stays the last that was. `retries` are all attempts after the first; `written` are the bytes of the
    request that were written to the present backend. Times are seconds of the data plane's clock.

    For the record: `pool_name` and `request_id` are empty until there is a pool and a backend is asked, `status` is 0
    and `upstream_seconds` negative until there is a response; `request_bytes` and `response_bytes` are of the bodies;
    `side` is whose fault `error` is, which says why it did not end well, or by an answer of the proxy's own.
    """

    body_bytes: float | None  # of requests that have a body
    rules: RouteRules | None
    coder: CompressedResponder | None
    gate: Gate | None
    backend: Candidate | None
    upstream: Upstream | None
    connection: Carrier | None
    side: Side | None
    _delivery: ResponseSpool | None
    request_body: RequestBody | None
    _retry_state: RetryState | None
    _steps: Iterator[RuleStep] | None

    __slots__ = (
        "_delivery",
        "_retry_state",
        "_spools",
        "_steps",
        "armed",
        "backend",
        "began",
        "body_bytes",
        "coder",
        "connection",
        "deadline",
        "error",
        "finished",
        "gate",
        "head",
        "held_at",
        "held_seconds",
        "idle_timeout",
        "listener",
        "peer",
        "plane",
        "pool_name",
        "prefix",
        "request_body",
        "request_bytes",
        "request_done",
        "request_id",
        "request_sent",
        "responder",
        "response_bytes",
        "response_timeout",
        "retries",
        "rules",
        "sent_at",
        "side",
        "started",
        "status",
        "target",
        "upstream",
        "upstream_seconds",
        "written",
    )

    def __init__(
        self,
        plane: ExchangePlane[Exchange],
        listener: Entrance,
        responder: Responder[Exchange],
        head: RequestHead,
        peer: Peer,
    ) -> None:
        self.plane = plane
        self.listener = listener
        self.responder = responder
        self.head = head
        self.peer = peer
        self.started = plane.poller.now  # when it was ready to be read; what it waited for its turn is part of it
        self.request_done = self.request_sent = head.complete
        self.idle_timeout = listener.idle_timeout
        self.target = head.target
        self.prefix = self.request_id = b""
        self.pool_name = ""
        self.status = self.request_bytes = self.response_bytes = self.retries = self.written = 0
        self.response_timeout = self.held_at = self.held_seconds = self.sent_at = 0.0
        self.upstream_seconds = -1.0
        # In few statements, as this is done for every request.
        self.rules = self.coder = self.gate = self.backend = self.upstream = self.connection = self.side = (
            self._delivery
        ) = self.request_body = self._retry_state = self._steps = None
        self.error = ""
        self.deadline, self.armed = math.inf, NEVER
        self.finished = self.began = self._spools = False
        if not head.complete:
            self.body_bytes = None  # until it is routed: the route may have a limit of its own
            self.request_body = RequestBody(self)

    @property
    def upgrading(self) -> bool:
        """Whether the request asks for a protocol upgrade, so that what follows its head is not a body."""
        return self.head.upgrade is not None

    # From the client.

    start = receive

    def proceed(self) -> None:
        """Take the steps of the route's rules that are left, and then claim a backend."""
        steps = self._steps
        if steps is None:
            assert self.rules is not None
            steps = self._steps = iter(self.rules.steps)
        for step in steps:
            if self.finished or not step.take(self):
                return
        self.forward()

    def answer_from(self, carrier: Carrier) -> None:
        """Have something else than a backend answer, which calls as a backend's connection does."""
        self.connection = carrier
        carrier.carry(self, self.head)

    def forward(self) -> None:
        """Claim a backend, or wait for one."""
        head = self.head
        gate = self.gate = self.plane.gates.get(self.pool_name)
        if gate is None:
            self.answer(503, side=Side.INTERNAL, error="the pool is gone")
            return
        peer = self.peer
        self.request_id = (peer.trusted and request_id_of(head, peer)) or self.plane.next_request_id()
        rules = self.rules
        own = None if rules is None else rules.response_timeout
        self.response_timeout = gate.table.response_timeout if own is None else own
        body = self.request_body
        if body is not None and gate.buffers and head.upgrade is None:
            body.gather(gate)
            return
        upstream = gate.admit(self)
        if upstream is not None:
            self._attempt(upstream)

    def admit(self, gate: Gate) -> None:
        """Claim a backend, or be held until there is one."""
        state = self._retry_state
        upstream = gate.admit(self) if state is None else gate.admit(self, state.excluded)
        if upstream is not None:
            self._attempt(upstream)

    @property
    def wants_body(self) -> bool:
        """Whether more of the request's body can be taken now; `Responder.read_on` follows when it can again."""
        return self.request_body is not None and self.request_body.wants_more

    @property
    def gathering(self) -> bool:
        """Whether the request is read to its end before a backend is claimed."""
        return self.request_body is not None and self.request_body.gathering

    def cancel(self, status: int = GONE_STATUS, error: str = "the client went away") -> None:
        """The client disconnected: abandon the exchange."""
        if not self.finished:
            self.status = self.status or status
            self.side = Side.DOWNSTREAM
            self.error = error
            self._drop_connection()
            self.finish()

    # Attempts.

    def _attempt(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.backend = upstream.backend
        head = self.head
        if head.upgrade is not None and upstream.backend.h2c:
            self.answer(501, side=Side.INTERNAL, error="tunnels to backends of HTTP/2 are not supported")
            return
        state = self._retry_state
        fresh_only = state is not None and state.fresh_only
        connection = None if fresh_only else upstream.take(careful=head.method not in IDEMPOTENT)
        if connection is None:
            try:
                connection = self.plane.room.connect(upstream)
            except NothingLeft as error:
                self.release_claim()
                self.answer(503, side=error.side, error=str(error), fields=self._retry_after())
                return
            except ConnectFailed as error:
                self._failed(failure_of(error), error, reused=False, responded=False)
                return
        self.connection = connection
        connection.carry(self, head)
        if not connection.connecting:
            self.on_connected()

    on_let_in = _attempt  # the gate has claimed a backend for this exchange, which it held

    def on_upstream_failed(self, connection: Carrier, error: ConnectFailed | UpstreamBroken | UpstreamTimedOut) -> None:
        self.connection = None
        if isinstance(error, ConnectFailed):
            self.written = 0
        self._failed(failure_of(error), error, reused=not connection.fresh, responded=connection.received)

    def _failed(self, failure: Failure, error: Exception, *, reused: bool, responded: bool) -> None:
        if self.finished:
            return
        self.error = str(error)
        self.side = Side.UPSTREAM
        state = self._retry_state
        if state is None:
            assert self.gate is not None
            state = self._retry_state = RetryState(self.gate)
        state.on_failure(self, failure, reused=reused, responded=responded)

    def turn_away(self, why: str) -> None:
        """Answer 503 with Retry-After: no backend can be claimed."""
        self.plane.poller.timers.set(self, math.inf)
        self.answer(503, side=Side.UPSTREAM, error=why, fields=self._retry_after())

    def on_paused(self, answer: PauseAnswer) -> None:
        """Give the answer of a paused pool, with Retry-After: it is for a time."""
        self.plane.poller.timers.set(self, math.inf)
        fields = self._retry_after()
        self.answer(answer.status, side=Side.UPSTREAM, error="the pool is paused", fields=fields, page=answer.page)

    def _retry_after(self) -> tuple[Field, ...]:
        """Value of Retry-After, spread so that clients do not return all at once."""
        return () if self.gate is None else ((b"Retry-After", self.gate.retry_after()),)

    def on_deadline(self) -> None:
        """The hold timeout or the pause before a retry has passed."""
        gate, state = self.gate, self._retry_state
        if self.finished or gate is None:
            return
        if state is not None and state.pausing:
            state.pausing = False
            self.admit(gate)
        else:
            gate.forget(self)
            self.turn_away("no backend in time")

    def _drop_connection(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.exchange = None
            connection.close()

    def release_claim(self) -> None:
        upstream, self.upstream = self.upstream, None
        if upstream is not None and self.gate is not None:
            self.gate.claims.release(upstream.backend)

    # To and from the backend; `Carried` says what each tells.

    def on_connected(self) -> None:
        """Send the request head and what has arrived of its body in one call."""
        connection = self.connection
        assert connection is not None
        body = self.request_body
        self.written = connection.send_request(self, self.request_id, None if body is None else body.begin())
        if not self.written:
            connection.fail(UpstreamBroken("the connection takes nothing"))
            return
        self.sent_at = self.plane.poller.now
        if body is not None:
            body.on_head_sent()
            if self.finished:
                return
        if self.request_sent or connection.backed_up:
            connection.await_backend(self.response_timeout)
        if not self.request_done:
            self.responder.read_on()

    def on_upstream_drained(self) -> None:
        if self.request_body is not None:
            self.request_body.on_upstream_drained()

    def on_interim(self, head: ResponseHead) -> None:
        if self.head.version > 10 and (head.status != 100 or self.head.expect_continue) and not self.began:
            self.responder.send_interim(self, head)
            self.flush()

    def on_response_head(self, head: ResponseHead) -> None:
        if self.sent_at:
            self.upstream_seconds = self.plane.poller.now - self.sent_at
        if head.status == 101:
            self._switch(head)
            return
        if head.file_fields is not None and answer_named_file(self, head, whole=False):
            return
        self.status = head.status
        self.began = True
        finish_head(self, head)
        if self.request_body is not None:
            self.request_body.on_response()
        gate = self.gate
        if self.upstream is not None and gate is not None and (gate.buffers or head.buffering):
            self._spools = self.head.upgrade is None and may_be_spooled(head, buffers=gate.buffers)
        if head.buffering is not None and self.peer.trusted:
            head.lines.append(b"X-Accel-Buffering: %b\r\n" % (b"yes" if head.buffering else b"no"))
        self.responder.send_head(self, head)
        if self.responder.shut_out and self._spools:
            self._spool_response()

    def on_response_body(self, data: Data) -> None:
        self.response_bytes += len(data)
        self.responder.send_body(data)

    def on_response_moved(self, size: int) -> None:
        self.response_bytes += size

    def on_response(self, head: ResponseHead) -> None:
        if self.sent_at:
            self.upstream_seconds = self.plane.poller.now - self.sent_at
        if head.file_fields is not None and answer_named_file(self, head, whole=True):
            return
        self.status = head.status
        self.began = True
        finish_head(self, head)
        body = head.body
        if body is not None:
            self.response_bytes += len(body)
        self.end(alive=self.responder.send_response(self, head))

    def on_response_end(self) -> None:
        self._note_upstream_end()
        responder = self.responder
        responder.send_end()
        alive = responder.flush()
        if self._delivery is not None and self._delivery.left and alive:
            self._deliver()
        else:
            self.end(alive=alive)

    def _note_upstream_end(self) -> None:
        if self.upstream_seconds >= 0 and self.sent_at:
            self.upstream_seconds = self.plane.poller.now - self.sent_at

    def end(self, *, alive: bool) -> None:
        """The whole response has been sent, to a client that may have left."""
        if not alive:
            self._lose_client()
            return
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.release(reusable=self.request_sent)
            gate = self.gate
            if gate is not None and gate.ejections.suspects:
                gate.acquit(self.upstream)
        self.finish()
        self.responder.done(self)

    def part_with_backend(self, head: ResponseHead | None = None, *, whole: bool = True) -> None:
        """Release the claim and the connection: the rest of the exchange is without them.

        Args:
            head: of its response, if nothing is wanted of what the backend says behind it.
            whole: nothing follows.
        """
        if self.request_body is not None:
            self.request_body.close()
        connection, self.connection = self.connection, None
        if connection is not None:
            if whole or head is None:
                connection.release(reusable=self.request_sent)
            elif self.request_sent and (head.complete or (head.content_length or 0) <= DISCARDED_BYTES):
                Discarded(self.plane, connection, self)
            else:
                connection.exchange = None
                connection.close()
        if self.gate is not None and self.gate.ejections.suspects:
            self.gate.acquit(self.upstream)
        self.release_claim()

    def flush(self) -> None:
        """Send what is buffered for the client; ends the exchange if the client is gone."""
        if not self.responder.flush():
            self._lose_client()

    def _lose_client(self) -> None:
        """A write failed: the client is gone, which the responder may not know yet."""
        if not self.finished:
            self.cancel()
            self.responder.truncate(self)

    @property
    def downstream_backed_up(self) -> bool:
        if self._spools and self._delivery is None and self.responder.behind:
            self._spool_response()
        return self.responder.backed_up

    @property
    def held_back(self) -> bool:
        gate = self.gate
        return not (self._spools or (not self.began and gate is not None and gate.buffers))

    def _spool_response(self) -> None:
        """Have what comes of the response wait for the client elsewhere than in the backend."""
        gate = self.gate
        assert gate is not None
        spool = gate.make_spool(self, self.on_downstream_drained)
        coder = self.coder
        if coder is None:
            self.responder = self._delivery = ResponseSpool(self, self.responder, spool)
        else:  # what waits is compressed
            coder.responder = self._delivery = ResponseSpool(self, coder.responder, spool)

    def _deliver(self) -> None:
        """Let go of the backend, as what is left of the response waits here for the client."""
        self.part_with_backend()
        self.sent_at = 0.0  # what follows is not the backend's time
        if self.gate is not None:
            self.gate.apart.add(self)

    def on_downstream_drained(self) -> None:
        """The client takes more."""
        if self._delivery is not None:
            self._delivery.feed()
        else:
            self.resume_backend()

    def resume_backend(self) -> None:
        """There is room for more of the response."""
        connection = self.connection
        if connection is not None and not connection.connecting:
            connection.paused = False
            connection.pump()

    def _switch(self, head: ResponseHead) -> None:
        """The backend agrees to another protocol."""
        connection = self.connection
        assert isinstance(connection, UpstreamConnection)  # no other gives a 101
        if self.head.upgrade is None or head.upgrade != self.head.upgrade:
            connection.fail(UpstreamBroken("the backend switched to a protocol that was not asked for"))
            return
        self.status = 101
        self.connection = None
        if self.responder.tunnel(self, head, connection):
            self.began = True
        else:
            self.connection = connection
            connection.fail(UpstreamBroken("the backend's handshake is not one"))

    def on_tunnel_end(self, *, sent: int, received: int, error: str = "") -> None:
        """The tunnel that this exchange became has ended, after so many bytes to and from the client.

        `error` is what ended it, if not one of its two ends.
        """
        self.response_bytes = sent
        self.request_bytes = received
        self.error = error
        self.finish()

    # Ends.

    def cut(self, why: str) -> None:
        """Abort because the drain deadline of the backend has passed."""
        if self.finished:
            return
        if self.gate is not None:
            self.gate.cut += 1
        self._drop_connection()
        self.side = Side.UPSTREAM
        self.error = why
        if self.began:
            self.break_off()
        else:
            self.answer(503, side=Side.UPSTREAM, error=why, fields=self._retry_after())

    def answer(
        self,
        status: int,
        *,
        side: Side | None = None,
        error: str = "",
        fields: tuple[Field, ...] = (),
        page: bytes = b"",
    ) -> None:
        """End with an answer of the proxy's own; truncates if the response has begun.

        Browsers get the page, or that of the pool for the status, or the proxy's own; all others a line of text.
        """
        if self.finished:
            return
        self.side = side
        self.error = error
        self._drop_connection()
        if self.began:
            self.break_off()
            return
        self.status = status
        self.began = True
        send_own_answer(self, status, fields, page)

    def break_off(self, *, at_once: bool = True) -> None:
        """Abort in the middle of the response, visibly for the client; or when it has got what waits for it."""
        self._note_upstream_end()
        delivery = self._delivery
        if not at_once and delivery is not None:
            self._deliver()
            delivery.break_off()
        else:
            self.truncate()

    def truncate(self) -> None:
        """End here, visibly for the client."""
        self.finish()
        self.responder.truncate(self)

    def finish(self) -> None:
        """Release the claim and write the record, once for each exchange."""
        if self.finished:
            return
        self.finished = True
        gate = self.gate
        if gate is not None:
            if self._retry_state is not None:
                self._retry_state.close()
            if self.upstream is None:
                gate.forget(self)
        if self.armed is not NEVER:  # few have ever waited
            self.plane.poller.timers.forget(self)
        self.release_claim()
        if self.request_body is not None:
            self.request_body.close()
            self.request_body = None
        if self._delivery is not None:
            self._delivery.close()
        if self.coder is not None:
            self.coder.close()
            self.response_bytes = self.coder.sent_bytes
        self.plane.record(self)

    def on_crash(self, error: Exception) -> None:
        """Contain a defect of ours to this exchange."""
        self.plane.on_crash(error, "exchange")
        try:
            self.answer(500, side=Side.INTERNAL, error="internal error")
        except Exception as again:  # the last resort is to let go of both sides
            self.plane.on_crash(again, "exchange")
            self.break_off()
