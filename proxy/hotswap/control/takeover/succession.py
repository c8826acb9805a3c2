"""The new side of a takeover: what `hotswap.core.takeover.new` commands is done here.

Until the old side says COMMIT nothing here is ours: we hold copies of descriptors, have pools in which nothing
runs, and may leave at any moment without a trace, because what was received is closed by the end of the process
and nothing was said to any backend. With COMMIT everything happens in one step without waiting: pools go to
work, listeners accept, and LIVE is said.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from typing import Final

import trio

from hotswap.control.pools.static_pool import StaticPool
from hotswap.control.process.boot import begin_serving
from hotswap.control.process.memory import settle_memory
from hotswap.control.process.parts import Parts
from hotswap.control.process.verbs import Verbs
from hotswap.control.takeover.channel import Channel, ChannelClosed, Received, peer_of, unseal
from hotswap.control.takeover.fault import deadlines, fault
from hotswap.control.takeover.handoff_info import own_handoff_info
from hotswap.control.takeover.handover_state import OWN_COUNTS, add_tally
from hotswap.control.takeover.inheritance import Inheritance
from hotswap.control.takeover.order import CouldNotTakeOver
from hotswap.control.takeover.stub import write_pid
from hotswap.control.takeover.table_loop import TableLoop
from hotswap.control.telemetry.version import PROGRAM_VERSION
from hotswap.core.errors import ProxyError
from hotswap.core.process.phases import PhaseEvent
from hotswap.core.takeover.new import NewCommand, NewEvent, NewState, new_side
from hotswap.core.takeover.versions import SIGNS_OF_LIFE
from hotswap.processes.exit_status import Exit
from hotswap.wire.handover import FrameType, HandoverBroken

BREAK_PATIENCE: Final = 0.5
"""Seconds in which the death of the old process is waited for when the channel broke."""

PROGRESS_INTERVAL: Final = 1.0
"""Seconds between two words to the old side that the preparation goes on, or that this process still turns."""

_HEARD: Final = {
    FrameType.WELCOME: NewEvent.WELCOMED,
    FrameType.REFUSE: NewEvent.REFUSED,
    FrameType.LISTENER: NewEvent.LISTENER_RECEIVED,
    FrameType.STATE: NewEvent.STATE_RECEIVED,
    FrameType.BACKEND: NewEvent.BACKEND_RECEIVED,
    FrameType.COMMIT: NewEvent.COMMIT_RECEIVED,
    FrameType.RELEASED: NewEvent.RELEASED_RECEIVED,
    FrameType.BYE: NewEvent.BYE_RECEIVED,
}


_ACKNOWLEDGED: Final = frozenset({NewEvent.LISTENER_RECEIVED, NewEvent.STATE_RECEIVED, NewEvent.BACKEND_RECEIVED})


class Succession:
    """One takeover, seen from the process that comes."""

    def __init__(self, parts: Parts, verbs: Verbs, sock: socket.socket) -> None:
        """Make it, with a socket that is connected to the old process; nothing of the proxy runs yet.

        Raises:
            OSError: that has ended.
        """
        self._parts = parts
        self._verbs = verbs
        self._log = parts.log
        self._channel = Channel(sock)
        self._old_pidfd = os.pidfd_open(peer_of(sock).pid)
        self._probation = 10.0
        self._protocol = 0
        self._goods = Inheritance(parts, verbs)
        self._machine = new_side(now=trio.current_time(), limits=deadlines(NewState))
        self._loop = TableLoop(
            self._machine,
            side="new",
            pidfd=lambda: self._old_pidfd,
            patience=BREAK_PATIENCE,
            broken=NewEvent.CHANNEL_BROKEN,
            overdue=NewEvent.DEADLINE_PASSED,
            why_overdue=lambda _state: "the old process took too long",
            look=self._look,
            moved=self._moved,
            do=self._do,
        )
        self._takers: Mapping[NewEvent, Callable[[Received], None]] = {
            NewEvent.WELCOMED: self._take_welcome,
            NewEvent.LISTENER_RECEIVED: self._goods.take_listener,
            NewEvent.STATE_RECEIVED: self._goods.take_state,
            NewEvent.BACKEND_RECEIVED: self._goods.take_backend,
            NewEvent.COMMIT_RECEIVED: self._goods.take_commit,
            NewEvent.BYE_RECEIVED: self._add_counts,
        }
        self._acks: deque[int] = deque()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take over, and go on until the old process is gone; started once this process serves.

        Raises:
            CouldNotTakeOver: it did not come to that.

        **Cancellation**: the old process is left alone.
        """
        machine = self._machine
        self._started: Callable[[], None] = task_status.started
        try:
            fault(f"new:{machine.state}")
            # One that refuses at once has closed the channel already; why it does so can still be read.
            with suppress(HandoverBroken):
                who = {"pid": os.getpid(), "config": str(self._parts.config_path)}
                self._channel.send(FrameType.HELLO, {**own_handoff_info().to_json(), **who})
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._serve_channel)
                nursery.start_soon(self._wait_death)
                await self._loop.run()
                nursery.cancel_scope.cancel()
        finally:
            self._parts.predecessor.end()
            self._channel.close()
            trio.lowlevel.notify_closing(self._old_pidfd)
            os.close(self._old_pidfd)
        if machine.state is NewState.LEFT:
            raise CouldNotTakeOver(
                f"this process does not take over: {machine.reason} (in the state {machine.failed_in})"
            )
        self._log.info("takeover.predecessor_gone")
        self._parts.events.publish("takeover.ended")

    def _look(self, event: NewEvent, detail: str, received: Received | None) -> tuple[NewEvent, str]:
        problem = "" if received is None else self._take(event, received)
        return (NewEvent.FAILED, problem) if problem else (event, detail)

    def _moved(self, event: NewEvent, detail: str) -> None:
        self._log.debug("takeover.moved", state=self._machine.state.value, because=event.value, detail=detail)

    # What is received.

    async def _serve_channel(self) -> None:
        try:
            while True:
                self._hear(await self._channel.receive())
        except ChannelClosed as error:
            await self._loop.judge_break(error.detail)
        except HandoverBroken as error:
            # What came cannot be used: the other side is told why, as long as it waits for an answer.
            awaited = self._machine.knows(NewEvent.FAILED)
            self._loop.note(NewEvent.FAILED if awaited else NewEvent.CHANNEL_BROKEN, error.detail)

    async def _wait_death(self) -> None:
        await trio.lowlevel.wait_readable(self._old_pidfd)
        # What it sent before it died comes first.
        await trio.sleep(0.01)
        self._loop.note(NewEvent.PEER_DIED, "the old process ended")

    def _hear(self, received: Received) -> None:
        frame, predecessor = received.frame, self._parts.predecessor
        match frame.type:
            case FrameType.BACKEND_RELEASED:
                predecessor.hear_released(frame.number("pid"))
            case FrameType.BACKEND_EXIT:
                code, number = frame.body.get("code"), frame.body.get("signal")
                if isinstance(code, int) or isinstance(number, int):
                    predecessor.hear_exit(frame.number("pid"), Exit(code=code, signal=number))
            case FrameType.TERMINATE:
                # It was told to stop, and means both of us.
                if not self._parts.life.stopping:
                    self._verbs.stop()
            case FrameType.DRAINING:
                predecessor.hear_draining(frame.body)
                self._add_counts(received)
            case kind if kind in _HEARD:
                self._loop.note(_HEARD[kind], str(frame.body.get("reason", "")), received)
            case kind:
                received.descriptors.close()
                self._loop.note(NewEvent.CHANNEL_BROKEN, f"a {kind} frame is not the old side's to send")

    def _take(self, event: NewEvent, received: Received) -> str:
        """Take what came with an event; gives what is wrong with it, empty when nothing is."""
        frame = received.frame
        if event in _ACKNOWLEDGED:
            self._acks.append(frame.seq)
        try:
            with closing(received.descriptors):
                if event in self._takers:
                    self._takers[event](received)
        except (ProxyError, OSError, KeyError, ValueError, TypeError) as error:
            self._log.error("takeover.not_understood", frame=frame.type.value, exc_info=error)
            return f"a {frame.type} frame: {error}"
        return ""

    def _take_welcome(self, received: Received) -> None:
        frame = received.frame
        self._parts.life.incarnation = frame.number("generation") + 1
        self._protocol = frame.number("protocol")
        self._parts.life.log = self._log = self._log.bind(takeover=self._parts.life.incarnation)
        probation = frame.body.get("probation")
        if isinstance(probation, int | float):
            self._probation = float(probation)
        # What has begun has the deadline that the old side means.
        self._machine.allow(NewState.PROBATION, self._probation + 20.0)

    def _add_counts(self, received: Received) -> None:
        with closing(received.descriptors):
            try:
                grown = unseal(received.descriptors.take())
                add_tally(self._parts.tally, grown, leave_out=OWN_COUNTS)
            except HandoverBroken as error:
                self._log.warning("takeover.counts_lost", detail=error.detail)

    # Commands.

    def _do(self, command: NewCommand, detail: str) -> None:
        try:
            self._perform(command, detail)
        except HandoverBroken as error:
            self._nursery.start_soon(self._loop.judge_break, error.detail)

    def _perform(self, command: NewCommand, detail: str) -> None:
        match command:
            case NewCommand.SEND_ACK:
                try:
                    self._channel.send(FrameType.ACK, {"seq": self._acks.popleft()})
                finally:
                    # What is complete is prepared, also if nobody is there any more to be told so.
                    if self._machine.state is NewState.BACKENDS and self._goods.complete:
                        self._loop.handle(NewEvent.SET_COMPLETE)
            case NewCommand.PREPARE:
                self._nursery.start_soon(self._prepare)
            case NewCommand.SEND_NAK:
                self._channel.send(FrameType.NAK, {"reason": detail})
            case NewCommand.SEND_PREPARED:
                assert self._goods.prepared is not None
                unclaimed = self._parts.listeners.unclaimed(self._goods.prepared)
                if unclaimed:
                    self._log.warning("takeover.unclaimed", listeners=unclaimed)
                self._channel.send(FrameType.PREPARED, {"unclaimed": unclaimed})
            case NewCommand.SERVE:
                self._serve()
                self._started()
            case NewCommand.SEND_LIVE:
                self._channel.send(FrameType.LIVE)
                if self._protocol >= SIGNS_OF_LIFE:
                    self._nursery.start_soon(self._give_signs_of_life)
            case NewCommand.SETTLE:
                self._settle()
            case NewCommand.LEAVE:
                self._goods.drop()

    async def _prepare(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._tell_progress)
                await self._goods.make_ready()
                nursery.cancel_scope.cancel()
        except* (ProxyError, OSError, ValueError) as group:
            first: BaseException = group
            while isinstance(first, BaseExceptionGroup):
                first = first.exceptions[0]
            self._loop.note(NewEvent.FAILED, str(first) or repr(first))
        else:
            self._loop.note(NewEvent.PREPARED)

    async def _tell_progress(self) -> None:
        while True:
            await trio.sleep(PROGRESS_INTERVAL)
            with suppress(HandoverBroken):
                self._channel.send(FrameType.PROGRESS)

    async def _give_signs_of_life(self) -> None:
        # Dead or alive the kernel tells the old process; that we are not stuck only we can.
        while self._machine.state is NewState.PROBATION:
            with suppress(HandoverBroken):
                self._channel.send(FrameType.PROGRESS)
            await trio.sleep(PROGRESS_INTERVAL)

    def _serve(self) -> None:
        """Accept, and own everything. Nothing in here waits."""
        parts, goods = self._parts, self._goods
        state, prepared = goods.state, goods.prepared
        assert prepared is not None
        parts.events.restore(state.last_event, state.events)
        parts.book.restore(state.last_rollout, state.rollouts)
        add_tally(parts.tally, state.tally)
        parts.predecessor.begin(self._channel, protocol=self._protocol)
        for adopted in goods.adopted:
            # Without a last word of the old side, what it said first holds.
            adopted.settle(adopted.state, adopted.health)
        goods.renew()
        for pool in goods.pools.values():
            parts.pools.take_in(pool, parts.nursery)
        # Listeners accept from here on.
        parts.pools.apply(parts.config.pools, goods.releases, parts.surroundings, parts.nursery)
        parts.plane.set_routes(parts.config.routes, prepared.contents)
        parts.listeners.commit(prepared, parts.plane)
        begin_serving(parts)
        for name, static in state.static.items():
            found = parts.pools.get(name)
            if isinstance(found, StaticPool):
                found.restore(static.healths, drained=static.drained)
                if static.paused:
                    found.core.pause(static.answer)
        parts.door.open()
        parts.events.publish("takeover.live", pid=os.getpid(), version=PROGRAM_VERSION)
        self._log.info("takeover.live", backends=len(goods.adopted), probation=self._probation)

    def _settle(self) -> None:
        """Everything is ours for good: start what is missing, end what is not wanted any more."""
        parts = self._parts
        parts.guardian.settle()
        settle_memory()
        parts.manager.silent = False
        parts.manager.ready()
        parts.nursery.start_soon(parts.manager.serve_watchdog)
        parts.door.settle()
        parts.listeners.close_unused()
        parts.pools.drop(parts.config.pools, parts.nursery, static_drain_timeout=parts.config.proxy.shutdown_timeout)
        for pool in parts.pools.supervised():
            if not parts.life.stopping:
                pool.thaw()
        for directory in parts.pid_directories:
            write_pid(directory)
        parts.life.note(PhaseEvent.SETTLED)
        parts.tally.takeovers["done"] += 1
        parts.events.publish("takeover.done", pid=os.getpid(), generation=parts.life.incarnation)
        self._log.info("takeover.done", generation=parts.life.incarnation)
