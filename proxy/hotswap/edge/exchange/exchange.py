"""One request and its response: routed, given to a backend, relayed, retried where that is harmless, and recorded.

An exchange stands between a responder (the client's side: an HTTP/1.1 connection or one HTTP/2 stream) and an upstream
connection. Both call it from the poller; it never waits. Its life:

    start -> routed -> admitted by the gate (or held) -> connected -> request sent -> response relayed -> finished

The decisions are made by pure code: `hotswap.core.http.routing`, `Claims.claim`, `hotswap.core.http.retry`; this module
carries them out. A claim is released before the next one is made, and whoever waits holds none. Every exchange ends in
`_finish`, once, where the claim is released and the record is written.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from hotswap.core.errors import ConnectFailed, NothingLeft, Side, UpstreamBroken, UpstreamTimedOut
from hotswap.core.http.error_page import page_answer
from hotswap.core.http.forwarding import counted_down, error_head, request_id_of
from hotswap.core.http.html_preference import accept_field, prefers_html
from hotswap.core.http.messages import IDEMPOTENT, Field, ResponseHead
from hotswap.core.http.retry import RETRY_FIELD, Attempt, Fail, Failure, Retry, failure_of
from hotswap.core.http.routing import RouteMatch, location_of
from hotswap.edge.exchange.page_carrier import PIECE_BYTES, PageCarrier
from hotswap.edge.exchange.request_body import RequestBody
from hotswap.edge.exchange.response_head import finish_head
from hotswap.edge.exchange.retry_state import RetryState
from hotswap.edge.exchange.sendfile_answer import answer_named_file
from hotswap.edge.loop.timers import NEVER
from hotswap.edge.upstream.discarded import DISCARDED_BYTES, Discarded
from hotswap.edge.upstream.upstream_connection import UpstreamConnection

if TYPE_CHECKING:
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

    __slots__ = (
        "_began",
        "_retry_state",
        "_step",
        "armed",
        "backend",
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
        self.request_done = head.complete
        self.idle_timeout = listener.idle_timeout
        self.body_bytes: float | None = None  # until it is routed: the route may have a limit of its own
        self.rules: RouteRules | None = None
        self.coder: CompressedResponder | None = None
        self._step = 0
        self.target = head.target
        self.prefix = self.request_id = b""
        self.pool_name = ""
        self.gate: Gate | None = None
        self.backend: Candidate | None = None
        self.upstream: Upstream | None = None
        self.connection: Carrier | None = None
        self.status = self.request_bytes = self.response_bytes = self.retries = self.written = 0
        self.response_timeout = self.held_at = self.held_seconds = self.sent_at = 0.0
        self.upstream_seconds = -1.0
        self.side: Side | None = None
        self.error = ""
        self.deadline, self.armed = math.inf, NEVER
        self.finished = self._began = False
        self.request_body = None if head.complete else RequestBody(self)
        self._retry_state: RetryState | None = None

    @property
    def upgrading(self) -> bool:
        """Whether the request asks for a protocol upgrade, so that what follows its head is not a body."""
        return self.head.upgrade is not None

    # From the client.

    def start(self) -> None:
        """Route the request and claim a backend; requests that are not forwarded are answered here."""
        head = self.head
        listener = self.listener
        may_ask_for = self.peer.may_ask_for
        if may_ask_for is not None and not may_ask_for(head.host):
            self.answer(421, side=Side.DOWNSTREAM, error="the connection is for another host")
            return
        redirect = listener.redirect
        if redirect is not None:
            if head.host:
                self.answer(redirect.status, fields=((b"Location", location_of(redirect, head)),))
            else:
                self.answer(400, side=Side.DOWNSTREAM, error="no host to redirect to")
            return
        if head.method == b"OPTIONS":
            counted = counted_down(head)
            if counted is None:
                self.answer(200)
                return
            self.head = head = counted
        match = self.plane.router.match(head.host, head.path)
        if not isinstance(match, RouteMatch):
            if match is None:
                self.answer(404, side=Side.DOWNSTREAM, error="no route")
            else:
                self.answer(400, side=Side.DOWNSTREAM, error=match.value)
            return
        if match.strip:
            self.target = match.rewrite(head.target)
            self.prefix = match.prefix
        self.pool_name = match.pool
        limit: float | None = listener.body_bytes
        if match.rule is not None:
            rules = self.rules = self.plane.rules[match.rule]
            assert rules is not None
            if rules.body_bytes is not None:
                limit = rules.body_bytes
            if rules.idle_timeout is not None:
                self.idle_timeout = rules.idle_timeout
        self.body_bytes = limit
        if limit is not None and max(head.content_length or 0, self.request_bytes) > limit:
            self.answer(413, side=Side.DOWNSTREAM, error="the body is too large")
        elif self.rules is None:
            self._forward()
        else:
            self.proceed()

    def proceed(self) -> None:
        """Take the steps of the route's rules that are left, and then claim a backend."""
        rules = self.rules
        assert rules is not None
        while self._step < len(rules.steps):
            step = rules.steps[self._step]
            self._step += 1
            if self.finished or not step.take(self):
                return
        self._forward()

    def answer_from(self, carrier: Carrier) -> None:
        """Have something else than a backend answer, which calls as a backend's connection does."""
        self.connection = carrier
        carrier.carry(self, self.head)

    def _forward(self) -> None:
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
        upstream = gate.admit(self)
        if upstream is not None:
            self._attempt(upstream)

    @property
    def wants_body(self) -> bool:
        """Whether more of the request's body can be taken now; `Responder.read_on` follows when it can again."""
        body = self.request_body
        return body is not None and body.wants_more

    @property
    def answering(self) -> bool:
        """Whether the response has begun."""
        return self._began

    def cancel(self, status: int = GONE_STATUS, error: str = "the client went away") -> None:
        """The client disconnected: abandon the exchange."""
        if not self.finished:
            self.status = self.status or status
            self.side = Side.DOWNSTREAM
            self.error = error
            self._drop_connection()
            self._finish()

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
                connection = self._connect(upstream)
            except NothingLeft as error:
                self._release_claim()
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

    def _connect(self, upstream: Upstream) -> Carrier:
        try:
            return upstream.connect()
        except NothingLeft:
            if not self.plane.room.make(upstream=True):
                raise
            return upstream.connect()

    def on_upstream_failed(self, connection: Carrier, error: ConnectFailed | UpstreamBroken | UpstreamTimedOut) -> None:
        self.connection = None
        if isinstance(error, ConnectFailed):
            self.written = 0
        self._failed(failure_of(error), error, reused=not connection.fresh, responded=connection.received)

    def _failed(self, failure: Failure, error: Exception, *, reused: bool, responded: bool) -> None:
        if self.finished:
            return
        gate, backend, state = self.gate, self.backend, self._retry_state
        assert gate is not None
        assert backend is not None
        if state is None:
            state = self._retry_state = RetryState(gate)
        now = self.plane.poller.now
        head, body = self.head, self.request_body
        attempt = Attempt(
            failure=failure,
            reused=reused,
            request_bytes=self.written,
            idempotent=head.method in IDEMPOTENT,
            replayable=body is None or body.replayable,
            response_bytes=int(responded),
            sent_bytes=int(self._began),
            marked=head.field(RETRY_FIELD) is not None,
        )
        verdict = state.judge(attempt, backend.id, now)
        self.error = str(error)
        self.side = Side.UPSTREAM
        if body is not None:
            body.sending = False
        share = backend.in_flight
        self._release_claim()
        if isinstance(verdict, Retry) and verdict.counted and self.written:
            verdict = state.within_budget(verdict, backend, share, now)
        if verdict.blame:
            gate.ejections.blame(backend)
        match verdict:
            case Retry():
                self.retries += 1
                gate.retried += 1
                self.plane.tally.retries[self.pool_name, failure.value] += 1
                self.written = 0
                pause = state.prepare(verdict, failure, backend.id, now, self.retries)
                if state.pausing:
                    self.plane.poller.timers.set(self, now + pause)
                else:
                    self._admit_again(gate, state)
            case Fail(status=0):
                self._break_off()
            case Fail(status=503):
                self.turn_away(self.error)
            case Fail(status=status):
                self.answer(status, side=Side.UPSTREAM, error=self.error)

    def _admit_again(self, gate: Gate, state: RetryState) -> None:
        upstream = gate.admit(self, state.excluded)
        if upstream is not None:
            self._attempt(upstream)

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
            self._admit_again(gate, state)
        else:
            gate.forget(self)
            self.turn_away("no backend in time")

    def _drop_connection(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.exchange = None
            connection.close()

    def _release_claim(self) -> None:
        upstream, self.upstream = self.upstream, None
        if upstream is not None and self.gate is not None:
            self.gate.claims.release(upstream.backend)

    # To and from the backend; `Carried` says what each tells.

    def on_connected(self) -> None:
        """Send the request head and what has arrived of its body in one call."""
        connection = self.connection
        assert connection is not None
        body = self.request_body
        self.written = connection.send_request(self, self.request_id, None if body is None else body.replay)
        if not self.written:
            connection.fail(UpstreamBroken("the connection takes nothing"))
            return
        if body is not None:
            body.on_head_sent()
        self.sent_at = self.plane.poller.now
        if self.request_done or connection.backed_up:
            connection.await_backend(self.response_timeout)
        if not self.request_done:
            self.responder.read_on()

    def on_upstream_drained(self) -> None:
        if not self.request_done:
            self.responder.read_on()

    def on_interim(self, head: ResponseHead) -> None:
        if self.head.version > 10 and (head.status != 100 or self.head.expect_continue) and not self._began:
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
        self._began = True
        finish_head(self, head)
        if self.request_body is not None:
            self.request_body.on_response()
        self.responder.send_head(self, head)

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
        self._began = True
        finish_head(self, head)
        body = head.body
        if body is not None:
            self.response_bytes += len(body)
        self._end(alive=self.responder.send_response(self, head))

    def on_response_end(self) -> None:
        self._note_upstream_end()
        responder = self.responder
        responder.send_end()
        self._end(alive=responder.flush())

    def _note_upstream_end(self) -> None:
        if self.upstream_seconds >= 0:
            self.upstream_seconds = self.plane.poller.now - self.sent_at

    def _end(self, *, alive: bool) -> None:
        """The whole response has been sent, to a client that may have left."""
        if not alive:
            self._lose_client()
            return
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.release(reusable=self.request_done)
            gate, upstream = self.gate, self.upstream
            if gate is not None and gate.ejections.suspects and upstream is not None:
                gate.ejections.acquit(upstream.backend)
        self._finish()
        self.responder.done(self)

    def part_with_backend(self, head: ResponseHead, *, whole: bool) -> None:
        """Release the claim and the connection: of what the backend says behind this head nothing is wanted.

        Args:
            head: of its response.
            whole: nothing follows.
        """
        if self.request_body is not None:
            self.request_body.sending = False
        connection, gate, backend = self.connection, self.gate, self.backend
        if connection is not None:
            self.connection = None
            if whole:
                connection.release(reusable=self.request_done)
            elif self.request_done and (head.complete or (head.content_length or 0) <= DISCARDED_BYTES):
                Discarded(self.plane, connection, self)
            else:
                connection.exchange = None
                connection.close()
        if gate is not None and gate.ejections.suspects and backend is not None:
            gate.ejections.acquit(backend)
        self._release_claim()

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
        return self.responder.backed_up

    def on_downstream_drained(self) -> None:
        """The client takes more."""
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
            self._began = True
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
        self._finish()

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
        if self._began:
            self._break_off()
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
        if self._began:
            self._break_off()
            return
        if status >= 400 and prefers_html(accept_field(self.head)):
            head, body = self._answer_with_page(status, fields, page)
        else:
            head, body = error_head(status, fields)
        finish_head(self, head)
        self.status = status
        self._began = True
        responder = self.responder
        responder.send_head(self, head)
        if self.head.method != b"HEAD":
            if len(body) > PIECE_BYTES:
                self._release_claim()
                if self.gate is not None:
                    self.gate.forget(self)
                self.plane.poller.timers.set(self, math.inf)
                self.answer_from(PageCarrier(body))
                return
            self.response_bytes += len(body)
            responder.send_body(body)
        responder.send_end()
        alive = responder.flush()
        self._finish()
        if alive:
            responder.done(self)
        else:
            responder.truncate(self)

    def _answer_with_page(self, status: int, fields: tuple[Field, ...], page: bytes) -> tuple[ResponseHead, bytes]:
        page = page or self.plane.pages.get(self.pool_name, {}).get(status, b"")
        if len(page) > PIECE_BYTES and not self.request_done:
            page = b""  # it would be kept whole for a client that may never read
        self.request_id = self.request_id or request_id_of(self.head, self.peer) or self.plane.next_request_id()
        return page_answer(status, fields, page=page, request_id=self.request_id)

    def _break_off(self) -> None:
        """Abort in the middle of the response, visibly for the client."""
        self._note_upstream_end()
        self._finish()
        self.responder.truncate(self)

    def _finish(self) -> None:
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
        self._release_claim()
        self.request_body = None
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
            self._break_off()
