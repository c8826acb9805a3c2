"""The old side of a takeover: what `proxy.core.takeover_old` commands is done here.

One task reads events from one queue, asks the table, and does what it says, in order and without waiting in
between; whatever takes time (the preflight, the drain, watching the new process) is a task that puts its
outcome into the queue. So there is one place where things happen, and the order in which they happen is the
order of the table.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import trio

from proxy.control.takeover.channel import Received, is_dead, seal
from proxy.control.takeover.fault import deadlines, fault
from proxy.control.takeover.following import Following
from proxy.control.takeover.handing import Handing
from proxy.control.takeover.handoff_info import own_handoff_info
from proxy.control.takeover.handover_frames import HandoverFrames
from proxy.control.takeover.leaving import Leaving
from proxy.control.takeover.new_process import NewProcess
from proxy.control.takeover.order import TakeoverOrder, TakeoverResult
from proxy.control.takeover.stub import write_pid
from proxy.core.errors import Refused
from proxy.core.takeover_old import OldCommand, OldEvent, OldState, old_side
from proxy.core.takeover_versions import SIGNS_OF_LIFE, Agreement, HandoffUnreadable, agree, parse_handoff_info
from proxy.wire.handover import FrameType, HandoverBroken

if TYPE_CHECKING:
    from proxy.control.runtime import Runtime

LATEST_CUT: Final = 30.0
"""Seconds from the end of the drain until whoever is left is cut."""

PATIENCE: Final = 15.0
"""Seconds beyond a deadline for which the service manager is asked to wait."""

_HEARD: Final = {
    FrameType.NAK: OldEvent.NAK_RECEIVED,
    FrameType.PROGRESS: OldEvent.PROGRESS_RECEIVED,
    FrameType.PREPARED: OldEvent.PREPARED_RECEIVED,
    FrameType.LIVE: OldEvent.LIVE_RECEIVED,
    FrameType.HURRY: OldEvent.HURRY_RECEIVED,
    FrameType.TERMINATE: OldEvent.TERMINATE_RECEIVED,
}


_Event = tuple[OldEvent, str, Received | None]


class Takeover:
    """One takeover, seen from the process that is replaced.

    Attributes:
        reported: set once the result is known.
        ended: set when nothing of it goes on any more.
        result: what became of it.
    """

    def __init__(
        self,
        runtime: Runtime,
        order: TakeoverOrder,
        *,
        called: socket.socket | None = None,
        caller: int | None = None,
    ) -> None:
        """Make it; it begins with `run`.

        Args:
            runtime: the proxy.
            order: what is wanted.
            called: the connection of a process that has come by itself; None: one is started.
            caller: pidfd of that process; taken over.
        """
        self.reported = trio.Event()
        self.ended = trio.Event()
        self.result: TakeoverResult | None = None
        self._runtime = runtime
        self._order = order
        self._log = runtime.log.bind(takeover=runtime.incarnation + 1)
        config = order.config or runtime.config_path
        self._new = NewProcess(
            order.executable,
            config,
            called=called,
            caller=-1 if caller is None else caller,
            access_log=lambda: runtime.access.fd,
        )
        self._refused: Refused | None = None
        self._frames = HandoverFrames(runtime)
        self._handing = Handing(self._tell, lambda: self._note(OldEvent.ACKNOWLEDGED))
        self._following = Following(runtime, self._tell)
        self._leaving = Leaving(runtime, self._tell)
        self._send_events, self._events = trio.open_memory_channel[_Event](1000)
        self._machine = old_side(
            now=trio.current_time(),
            start=OldState.PREFLIGHT if called is None else OldState.GREETING,
            probation=order.probation,
            drain=order.drain_timeout + LATEST_CUT,
            limits=deadlines(OldState),
        )

    @property
    def state(self) -> OldState:
        """Where it is."""
        return self._machine.state

    @property
    def successor(self) -> int:
        """The process id of the new process."""
        return self._new.pid

    def ask_stop(self) -> None:
        """The proxy is to stop: end it, one way or the other."""
        if os.getpid() == 1 and self.state is OldState.DRAINING:
            # Whoever stops a container can reach its first process only.
            self._new.signal(signal.SIGTERM)
        self._note(OldEvent.STOP_ASKED, "the proxy was told to stop")

    async def run(self) -> None:
        """Perform it to its end.

        **Cancellation**: the new process is left alone.
        """
        runtime = self._runtime
        self._log.info("takeover.started", trigger=self._order.trigger, command=list(self._new.command))
        runtime.events.publish("takeover.started", trigger=self._order.trigger)
        runtime.manager.reloading()
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                if self._new.channel is not None:
                    self._watch()
                else:
                    nursery.start_soon(self._preflight)
                while not self._machine.ended:
                    self._handle(*await self._next_event())
                nursery.cancel_scope.cancel()
        finally:
            self._new.close()
            self.ended.set()
            self.reported.set()

    async def _next_event(self) -> _Event:
        deadline = self._machine.deadline
        with trio.CancelScope(deadline=float("inf") if deadline is None else deadline):
            return await self._events.receive()
        return OldEvent.DEADLINE_PASSED, f"the time for {self._machine.state} is over", None

    def _note(self, event: OldEvent, detail: str = "", received: Received | None = None) -> None:
        with suppress(trio.WouldBlock, trio.BrokenResourceError):
            self._send_events.send_nowait((event, detail, received))

    def _handle(self, event: OldEvent, detail: str, received: Received | None) -> None:
        machine = self._machine
        before = machine.state
        if not machine.knows(event):
            if received is None:
                return
            event, detail = OldEvent.CHANNEL_BROKEN, f"{event} cannot come in the state {before}"
        if not machine.knows(event):
            return
        commands = machine.on(event, now=trio.current_time(), detail=detail)
        if machine.state is not before:
            self._log.info("takeover.moved", state=machine.state.value, because=event.value, detail=detail)
        fault(f"old:{machine.state}")
        for command in commands:
            self._do(command)

    # Commands.

    def _do(self, command: OldCommand) -> None:
        try:
            self._perform(command)
        except HandoverBroken as error:
            self._nursery.start_soon(self._judge_break, error.detail)
        except OSError as error:
            self._log.error("takeover.crashed", command=command.value, exc_info=error)
            self._note(OldEvent.CHANNEL_BROKEN, f"{command}: {error.strerror or error}")

    def _perform(self, command: OldCommand) -> None:
        runtime = self._runtime
        match command:
            case OldCommand.SPAWN_NEW:
                self._nursery.start_soon(self._spawn)
            case OldCommand.SEND_WELCOME:
                self._send_welcome()
            case OldCommand.SEND_REFUSE:
                self._tell(FrameType.REFUSE, {"reason": self._machine.reason})
            case OldCommand.SEND_LISTENERS:
                self._handing.hand(self._frames.listeners())
            case OldCommand.SEND_STATE:
                self._handing.hand([self._frames.whole_state])
            case OldCommand.SEND_BACKENDS | OldCommand.SEND_CHANGES:
                self._handing.hand(self._frames.backends())
            case OldCommand.LET_GO:
                self._following.begin()
            case OldCommand.SEND_COMMIT:
                self._send_commit()
            case OldCommand.STOP_ACCEPTING:
                runtime.plane.suspend()
                # Those who listen come back at once, and to the process that has the events now.
                runtime.admin_door.close()
                runtime.events.part()
            case OldCommand.DRAIN_CLIENTS:
                self._nursery.start_soon(self._drain)
                if self._agreement.protocol >= SIGNS_OF_LIFE:
                    self._nursery.start_soon(self._wait_silence)
            case OldCommand.ACCEPT_AGAIN:
                runtime.plane.resume()
                runtime.admin_door.open()
                runtime.events.skip()
            case OldCommand.TAKE_BACK:
                self._following.end()
                # The next process has a higher number than the one that died: what that one said is of the past.
                runtime.incarnation += 2
            case OldCommand.KILL_NEW:
                self._new.signal(signal.SIGKILL)
            case OldCommand.STOP_NEW:
                self._tell(FrameType.TERMINATE, {})
            case OldCommand.SEND_RELEASED:
                self._tell(FrameType.RELEASED, {"generation": runtime.incarnation + 1})
            case OldCommand.ASK_PATIENCE:
                runtime.manager.extend(PATIENCE + (self._machine.deadline or 0.0) - trio.current_time())
            case OldCommand.TELL_MAINPID:
                runtime.manager.hand_over(self._new.pid)
            case OldCommand.CLOSE_LISTENERS:
                self._close_listeners()
            case OldCommand.HURRY_CLIENTS:
                self._leaving.hurry.set()
                runtime.predecessor.hurry()
            case OldCommand.CUT_CLIENTS:
                self._log.info("takeover.clients_cut", clients=runtime.plane.cut_clients())
                runtime.predecessor.terminate()
            case OldCommand.SEND_BYE:
                self._log.info("takeover.bye")
                self._leaving.say_bye()
            case OldCommand.REPORT_FAILURE:
                self._report_failure()
            case OldCommand.REPORT_SUCCESS:
                self._report_success()

    async def _preflight(self) -> None:
        try:
            await self._new.preflight()
        except Refused as refused:
            self._refused = refused
            self._note(OldEvent.PREFLIGHT_FAILED, refused.detail)
        else:
            self._note(OldEvent.PREFLIGHT_PASSED)

    async def _spawn(self) -> None:
        try:
            await self._new.spawn()
        except OSError as error:
            self._note(OldEvent.PEER_DIED, f"{self._new.command[0]} cannot be started: {error.strerror}")
            return
        self._watch()

    def _watch(self) -> None:
        self._nursery.start_soon(self._serve_channel)
        self._nursery.start_soon(self._wait_death)

    async def _wait_death(self) -> None:
        self._note(OldEvent.PEER_DIED, await self._new.wait_death())

    async def _wait_silence(self) -> None:
        self._note(OldEvent.PEER_SILENT, await self._new.wait_silence())

    async def _drain(self) -> None:
        await self._leaving.drain(
            timeout=self._order.drain_timeout, released=lambda: self._machine.state is OldState.DRAINING
        )
        self._note(OldEvent.DRAINED)

    # What the new side says.

    async def _serve_channel(self) -> None:
        assert self._new.channel is not None
        try:
            while True:
                received = await self._new.channel.receive()
                received.descriptors.close()
                self._new.heard += 1
                self._hear(received)
        except HandoverBroken as error:
            await self._judge_break(error.detail)

    async def _judge_break(self, detail: str) -> None:
        # Its death says more than the end of the channel, which follows from it.
        with trio.move_on_after(0.2):
            while not is_dead(self._new.pidfd):
                await trio.sleep(0.01)
            return
        self._note(OldEvent.CHANNEL_BROKEN, detail)

    def _hear(self, received: Received) -> None:
        frame = received.frame
        match frame.type:
            case FrameType.HELLO:
                self._hear_hello(received)
            case FrameType.ACK:
                self._handing.hear_ack(frame.number("seq"))
            case FrameType.RELEASE_BACKEND | FrameType.BACKEND_ADDED | FrameType.BACKEND_GONE:
                self._following.hear(frame, self._nursery)
            case kind if kind in _HEARD:
                self._note(_HEARD[kind], str(frame.body.get("reason", "")), received)
            case kind:
                self._note(OldEvent.CHANNEL_BROKEN, f"a {kind} frame is not the new side's to send", received)

    def _hear_hello(self, received: Received) -> None:
        try:
            info = parse_handoff_info(received.frame.body)
        except HandoffUnreadable as error:
            self._note(OldEvent.HELLO_REFUSED, error.detail, received)
            return
        self._new.version = info.version
        self._new.pid = self._new.pid or received.frame.number("pid")
        verdict = agree(own_handoff_info(), info)
        if isinstance(verdict, Agreement):
            self._agreement = verdict
            self._note(OldEvent.HELLO_ACCEPTED, "", received)
        else:
            self._note(OldEvent.HELLO_REFUSED, verdict.detail, received)

    # What is said to it.

    def _tell(self, kind: FrameType, body: Mapping[str, Any], descriptors: Sequence[int] = ()) -> int:
        return -1 if self._new.channel is None else self._new.channel.send(kind, body, descriptors)

    def _send_welcome(self) -> None:
        runtime = self._runtime
        self._tell(
            FrameType.WELCOME,
            {
                "protocol": self._agreement.protocol,
                "schema": self._agreement.schema,
                "generation": runtime.incarnation,
                "pid": os.getpid(),
                "probation": self._order.probation,
            },
        )

    def _send_commit(self) -> None:
        body = self._frames.commit()
        self._leaving.note_commit()
        state = seal(self._frames.state())
        try:
            self._tell(FrameType.COMMIT, body, (state,))
        finally:
            os.close(state)

    # The end, in whatever way.

    def _close_listeners(self) -> None:
        runtime = self._runtime
        # Before we end: who waits for us to serve, as the stub of a container does, must find somebody else then.
        write_pid(runtime.surroundings.sockets, self._new.pid)
        runtime.listeners.disown()
        runtime.admin_door.handed_over = True
        for listener in runtime.plane.listeners.values():
            listener.open_listener.close()
        runtime.guardian.abandon()
        # Its sockets are in use for a while, but nothing is made in it by us any more.
        runtime.premises.leave()

    def _report_failure(self) -> None:
        machine, runtime = self._machine, self._runtime
        step = "" if machine.failed_in is None else machine.failed_in.value
        self.result = TakeoverResult(
            done=False,
            generation=runtime.incarnation,
            pid=os.getpid(),
            version=self._new.version,
            step=step,
            reason=machine.reason,
            refused=self._refused if machine.state is OldState.REFUSED else None,
        )
        outcome = {OldState.REFUSED: "refused", OldState.RETURNED: "returned"}.get(machine.state, "failed")
        runtime.tally.takeovers[outcome] += 1
        self._log.error("takeover.failed", outcome=outcome, step=step, reason=machine.reason)
        runtime.events.publish("takeover.failed", outcome=outcome, step=step, reason=machine.reason)
        runtime.manager.reloaded()
        self.reported.set()

    def _report_success(self) -> None:
        runtime = self._runtime
        self.result = TakeoverResult(
            done=True, generation=runtime.incarnation + 1, pid=self._new.pid, version=self._new.version
        )
        self._log.info("takeover.released", pid=self._new.pid, version=self._new.version)
        self.reported.set()
