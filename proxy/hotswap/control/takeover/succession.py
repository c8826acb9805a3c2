"""The new side of a takeover: what `hotswap.core.takeover_new` commands is done here.

Until the old side says COMMIT nothing here is ours: we hold copies of descriptors, have pools in which nothing
runs, and may leave at any moment without a trace, because what was received is closed by the end of the process
and nothing was said to any backend. With COMMIT everything happens in one step without waiting: pools go to
work, listeners accept, and LIVE is said.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from hotswap.control.pools.static_pool import StaticPool
from hotswap.control.takeover.channel import Channel, ChannelClosed, Received, is_dead, unseal
from hotswap.control.takeover.fault import deadlines, fault
from hotswap.control.takeover.going_live import go_live, settle
from hotswap.control.takeover.handoff_info import own_handoff_info
from hotswap.control.takeover.handover_state import OWN_COUNTS, add_tally
from hotswap.control.takeover.inheritance import Inheritance
from hotswap.control.takeover.order import CouldNotTakeOver
from hotswap.control.telemetry.version import program_version
from hotswap.core.errors import ProxyError
from hotswap.core.takeover_new import NewCommand, NewEvent, NewState, new_side
from hotswap.core.takeover_versions import SIGNS_OF_LIFE
from hotswap.processes.supervisor import Exit
from hotswap.wire.handover import FrameType, HandoverBroken

if TYPE_CHECKING:
    from hotswap.control.process.runtime import Runtime

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


_Event = tuple[NewEvent, str, Received | None]


class Succession:
    """One takeover, seen from the process that comes."""

    def __init__(self, runtime: Runtime, sock: socket.socket, *, old_pidfd: int) -> None:
        """Make it.

        Args:
            runtime: the proxy; nothing of it runs yet.
            sock: connected to the old process.
            old_pidfd: of the old process.
        """
        self._runtime = runtime
        self._log = runtime.log
        self._channel = Channel(sock)
        self._old_pidfd = old_pidfd
        self._probation = 10.0
        self._protocol = 0
        self._goods = Inheritance(runtime)
        self._machine = new_side(now=trio.current_time(), limits=deadlines(NewState))
        self._send_events, self._events = trio.open_memory_channel[_Event](1000)
        self._acks: deque[int] = deque()
        self._live = trio.Event()
        self._left = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take over, and go on until the old process is gone; started once this process serves.

        Raises:
            CouldNotTakeOver: it did not come to that.

        **Cancellation**: the old process is left alone.
        """
        machine = self._machine
        try:
            fault(f"new:{machine.state}")
            # One that refuses at once has closed the channel already; why it does so can still be read.
            with suppress(HandoverBroken):
                who = {"pid": os.getpid(), "config": str(self._runtime.config_path)}
                self._channel.send(FrameType.HELLO, {**own_handoff_info().to_json(), **who})
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._serve_channel)
                nursery.start_soon(self._wait_death)
                while not machine.ended:
                    self._handle(*await self._next_event())
                    if machine.state in (NewState.PROBATION, NewState.ALONE) and not self._live.is_set():
                        self._live.set()
                        task_status.started()
                nursery.cancel_scope.cancel()
        finally:
            self._runtime.predecessor.end()
            self._channel.close()
        if self._left:
            raise CouldNotTakeOver(
                f"this process does not take over: {machine.reason} (in the state {machine.failed_in})"
            )
        self._log.info("takeover.predecessor_gone")
        self._runtime.events.publish("takeover.ended")

    async def _next_event(self) -> _Event:
        deadline = self._machine.deadline
        with trio.CancelScope(deadline=float("inf") if deadline is None else deadline):
            return await self._events.receive()
        return NewEvent.DEADLINE_PASSED, "the old process took too long", None

    def _note(self, event: NewEvent, detail: str = "", received: Received | None = None) -> None:
        with suppress(trio.WouldBlock, trio.BrokenResourceError):
            self._send_events.send_nowait((event, detail, received))

    def _handle(self, event: NewEvent, detail: str, received: Received | None) -> None:
        machine = self._machine
        before = machine.state
        if not machine.knows(event):
            if received is None:
                return
            received.descriptors.close()
            event, detail, received = NewEvent.CHANNEL_BROKEN, f"{event} cannot come in the state {before}", None
        problem = "" if received is None else self._take(event, received)
        if problem:
            event, detail = NewEvent.FAILED, problem
        commands = machine.on(event, now=trio.current_time(), detail=detail)
        if machine.state is not before:
            self._log.debug("takeover.moved", state=machine.state.value, because=event.value, detail=detail)
        fault(f"new:{machine.state}")
        for command in commands:
            self._do(command, detail)
        if machine.state is NewState.BACKENDS and self._goods.complete:
            self._handle(NewEvent.SET_COMPLETE, "", None)

    # What is received.

    async def _serve_channel(self) -> None:
        try:
            while True:
                self._hear(await self._channel.receive())
        except ChannelClosed as error:
            await self._judge_break(error.detail)
        except HandoverBroken as error:
            # What came cannot be used: the other side is told why, as long as it waits for an answer.
            awaited = self._machine.knows(NewEvent.FAILED)
            self._note(NewEvent.FAILED if awaited else NewEvent.CHANNEL_BROKEN, error.detail)

    async def _judge_break(self, detail: str) -> None:
        # Its death says more than the end of the channel, which follows from it.
        with trio.move_on_after(0.5):
            while not is_dead(self._old_pidfd):
                await trio.sleep(0.01)
            return
        self._note(NewEvent.CHANNEL_BROKEN, detail)

    async def _wait_death(self) -> None:
        await trio.lowlevel.wait_readable(self._old_pidfd)
        # What it sent before it died comes first.
        await trio.sleep(0.01)
        self._note(NewEvent.PEER_DIED, "the old process ended")

    def _hear(self, received: Received) -> None:
        frame, predecessor = received.frame, self._runtime.predecessor
        match frame.type:
            case FrameType.BACKEND_RELEASED:
                predecessor.hear_released(frame.number("pid"))
            case FrameType.BACKEND_EXIT:
                code, number = frame.body.get("code"), frame.body.get("signal")
                if isinstance(code, int) or isinstance(number, int):
                    predecessor.hear_exit(frame.number("pid"), Exit(code=code, signal=number))
            case FrameType.TERMINATE:
                # It was told to stop, and means both of us.
                if not self._runtime.stopping:
                    self._runtime.stop()
            case FrameType.DRAINING:
                predecessor.hear_draining(frame.body)
                self._add_counts(received)
            case kind if kind in _HEARD:
                self._note(_HEARD[kind], str(frame.body.get("reason", "")), received)
            case kind:
                received.descriptors.close()
                self._note(NewEvent.CHANNEL_BROKEN, f"a {kind} frame is not the old side's to send")

    def _take(self, event: NewEvent, received: Received) -> str:
        """Take what came with an event; gives what is wrong with it, empty when nothing is."""
        frame = received.frame
        try:
            with received.descriptors:
                match event:
                    case NewEvent.WELCOMED:
                        self._take_welcome(received)
                    case NewEvent.LISTENER_RECEIVED:
                        self._acks.append(frame.seq)
                        self._goods.take_listener(received)
                    case NewEvent.STATE_RECEIVED:
                        self._acks.append(frame.seq)
                        self._goods.take_state(received)
                    case NewEvent.BACKEND_RECEIVED:
                        self._acks.append(frame.seq)
                        self._goods.take_backend(received)
                    case NewEvent.COMMIT_RECEIVED:
                        self._goods.take_commit(received)
                    case NewEvent.BYE_RECEIVED:
                        self._add_counts(received)
        except (ProxyError, OSError, KeyError, ValueError, TypeError) as error:
            self._log.error("takeover.not_understood", frame=frame.type.value, exc_info=error)
            return f"a {frame.type} frame: {error}"
        return ""

    def _take_welcome(self, received: Received) -> None:
        frame = received.frame
        self._runtime.incarnation = frame.number("generation") + 1
        self._protocol = frame.number("protocol")
        self._runtime.log = self._log = self._log.bind(takeover=self._runtime.incarnation)
        probation = frame.body.get("probation")
        if isinstance(probation, int | float):
            self._probation = float(probation)
        # What has begun has the deadline that the old side means.
        self._machine.allow(NewState.PROBATION, self._probation + 20.0)

    def _add_counts(self, received: Received) -> None:
        with received.descriptors:
            try:
                grown = unseal(received.descriptors.take())
                add_tally(self._runtime.tally, grown, leave_out=OWN_COUNTS)
            except HandoverBroken as error:
                self._log.warning("takeover.counts_lost", detail=error.detail)

    # Commands.

    def _do(self, command: NewCommand, detail: str) -> None:
        try:
            self._perform(command, detail)
        except HandoverBroken as error:
            self._nursery.start_soon(self._judge_break, error.detail)

    def _perform(self, command: NewCommand, detail: str) -> None:
        match command:
            case NewCommand.SEND_ACK:
                self._channel.send(FrameType.ACK, {"seq": self._acks.popleft()})
            case NewCommand.PREPARE:
                self._nursery.start_soon(self._prepare)
            case NewCommand.SEND_NAK:
                self._channel.send(FrameType.NAK, {"reason": detail})
            case NewCommand.SEND_PREPARED:
                assert self._goods.prepared is not None
                unclaimed = self._runtime.listeners.unclaimed(self._goods.prepared)
                if unclaimed:
                    self._log.warning("takeover.unclaimed", listeners=unclaimed)
                self._channel.send(FrameType.PREPARED, {"unclaimed": unclaimed})
            case NewCommand.SERVE:
                self._serve()
            case NewCommand.SEND_LIVE:
                self._channel.send(FrameType.LIVE)
                if self._protocol >= SIGNS_OF_LIFE:
                    self._nursery.start_soon(self._give_signs_of_life)
            case NewCommand.SETTLE:
                self._settle()
            case NewCommand.LEAVE:
                self._leave()

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
            self._note(NewEvent.FAILED, str(first) or repr(first))
        else:
            self._note(NewEvent.PREPARED)

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
        runtime, goods = self._runtime, self._goods
        state, prepared = goods.state, goods.prepared
        assert prepared is not None
        runtime.events.restore(state.last_event, state.events)
        runtime.book.restore(state.last_rollout, state.rollouts)
        add_tally(runtime.tally, state.tally)
        runtime.settling = True
        runtime.predecessor.begin(self._channel, protocol=self._protocol)
        for adopted in goods.adopted:
            # Without a last word of the old side, what it said first holds.
            adopted.settle(adopted.state, adopted.health)
        for pool in goods.pools.values():
            runtime.pools.take_in(pool, runtime.nursery)
        go_live(runtime, prepared, goods.releases)
        for name, static in state.static.items():
            found = runtime.pools.get(name)
            if isinstance(found, StaticPool):
                found.restore(static.healths, drained=static.drained)
                if static.paused:
                    found.core.pause()
        runtime.admin_door.open()
        runtime.events.publish("takeover.live", pid=os.getpid(), version=program_version())
        self._log.info("takeover.live", backends=len(goods.adopted), probation=self._probation)

    def _settle(self) -> None:
        """Nothing can return any more."""
        runtime = self._runtime
        runtime.guardian.settle()
        settle(runtime)
        runtime.tally.takeovers["done"] += 1
        runtime.events.publish("takeover.done", pid=os.getpid(), generation=runtime.incarnation)
        self._log.info("takeover.done", generation=runtime.incarnation)

    def _leave(self) -> None:
        self._left = True
        self._goods.drop()
