"""The old side of a takeover: what `hotswap.core.takeover.old` commands is done here, in the turns of `TableLoop`.

Whatever takes time (the preflight, the drain, watching the new process) is a task whose outcome is an event.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import trio

from hotswap.control.configuration.path import is_same_file
from hotswap.control.pools.supervised_backend import SupervisedBackend
from hotswap.control.process.parts import Parts
from hotswap.control.takeover.channel import Received, seal
from hotswap.control.takeover.fault import deadlines
from hotswap.control.takeover.following import Following
from hotswap.control.takeover.handing import Handing
from hotswap.control.takeover.handoff_info import own_handoff_info
from hotswap.control.takeover.handover_frames import HandoverFrames
from hotswap.control.takeover.leaving import Leaving
from hotswap.control.takeover.new_process import NewProcess
from hotswap.control.takeover.order import TakeoverOrder, TakeoverResult
from hotswap.control.takeover.stub import lives, read_pid, write_pid
from hotswap.control.takeover.table_loop import TableLoop
from hotswap.core.errors import Refused
from hotswap.core.process.phases import PhaseEvent
from hotswap.core.takeover.old import OWNED_BY_US, OldCommand, OldEvent, OldState, old_side
from hotswap.core.takeover.versions import SIGNS_OF_LIFE, HandoffUnreadable, agree, parse_handoff_info
from hotswap.wire.handover import FrameType, HandoverBroken

LATEST_CUT: Final = 30.0
"""Seconds from the end of the drain until whoever is left is cut."""

SALVAGE_PATIENCE: Final = 5.0
"""Seconds to wait for the end of a new process that was killed."""

BREAK_PATIENCE: Final = 0.2
"""Seconds in which the death of the new process is waited for when the channel broke."""

PATIENCE: Final = 15.0
"""Seconds beyond a deadline for which the service manager is asked to wait."""

_HEARD: Final = {
    FrameType.NAK: OldEvent.NAK_RECEIVED,
    FrameType.PROGRESS: OldEvent.PROGRESS_RECEIVED,
    FrameType.PREPARED: OldEvent.PREPARED_RECEIVED,
    FrameType.LIVE: OldEvent.LIVE_RECEIVED,
    FrameType.STOPPING: OldEvent.STOPPING_RECEIVED,
    FrameType.HURRY: OldEvent.HURRY_RECEIVED,
}

_PHASES: Final = {
    OldState.COMMITTED: PhaseEvent.TAKEOVER_COMMITTED,
    OldState.DRAINING: PhaseEvent.TAKEOVER_RELEASED,
}
"""What it means for the process that the takeover has come so far."""


class Takeover:
    """One takeover, seen from the process that is replaced.

    Attributes:
        reported: set once the result is known.
        ended: set by the caller of `run` when nothing of it goes on any more, nor follows from it.
        result: what became of it, once it is `reported`.
    """

    def __init__(
        self,
        parts: Parts,
        order: TakeoverOrder,
        *,
        called: socket.socket | None = None,
        caller: int = -1,
    ) -> None:
        """Make it; it begins with `run`.

        Args:
            parts: the proxy.
            order: what is wanted.
            called: the connection of a process that has come by itself; None: one is started.
            caller: pidfd of that process; taken over.
        """
        self.reported = trio.Event()
        self.ended = trio.Event()
        self.result = TakeoverResult(done=False, generation=parts.life.incarnation, pid=os.getpid(), reason="cancelled")
        self._parts = parts
        self._order = order
        self._log = parts.log.bind(takeover=parts.life.incarnation + 1)
        config = order.config or parts.config_path
        self._new = NewProcess(
            order.executable,
            config,
            called=called,
            caller=caller,
            access_log=lambda: None if parts.access is None else parts.access.fd,
        )
        self._called = called is not None
        self._refused: Refused | None = None
        self._frames = HandoverFrames(parts)
        self._salvaged = False
        self._signals: set[signal.Signals] = set()
        self._going: tuple[SupervisedBackend, ...] = ()
        self._handing = Handing(self._tell, lambda: self._loop.note(OldEvent.ACKNOWLEDGED))
        self._following = Following(parts, self._tell)
        self._leaving = Leaving(parts, self._tell)
        self._machine = old_side(
            now=trio.current_time(),
            start=OldState.PREFLIGHT if called is None else OldState.GREETING,
            limits={
                OldState.PROBATION: order.probation,
                OldState.DRAINING: order.drain_timeout + LATEST_CUT,
                **deadlines(OldState),
            },
        )
        self._loop = TableLoop(
            self._machine,
            side="old",
            pidfd=lambda: self._new.pidfd,
            patience=BREAK_PATIENCE,
            broken=OldEvent.CHANNEL_BROKEN,
            overdue=OldEvent.DEADLINE_PASSED,
            why_overdue=lambda state: f"the time for {state} is over",
            look=self._look,
            moved=self._moved,
            do=self._do,
        )

    @property
    def returned(self) -> bool:
        """It was given up: this process serves as before."""
        return self._salvaged or self._machine.state in OWNED_BY_US

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
        self._loop.note(OldEvent.STOP_ASKED, "the proxy was told to stop")

    def pass_on(self, number: signal.Signals) -> None:
        """Send a signal on to the new process, as soon as that can take it."""
        if self._machine.state in (OldState.PREFLIGHT, OldState.GREETING):
            self._signals.add(number)
        else:
            self._new.signal(number)

    async def run(self) -> None:
        """Perform it to its end. Whatever is raised in it, it ends with a result, and in one of its last states.

        **Cancellation**: the new process is left alone.
        """
        try:
            await self._run()
        except Exception as error:
            await self._salvage(error)
        finally:
            self._new.close()
            self.reported.set()

    async def _run(self) -> None:
        parts = self._parts
        self._log.info("takeover.started", trigger=self._order.trigger, command=list(self._new.command))
        parts.events.publish("takeover.started", trigger=self._order.trigger)
        parts.manager.reloading()
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            if self._new.channel is not None:
                self._watch()
            else:
                self._start(self._preflight)
            await self._loop.run()
            nursery.cancel_scope.cancel()

    def _look(self, event: OldEvent, detail: str, _received: Received | None) -> tuple[OldEvent, str]:
        if self.state is OldState.CHANGES and event is OldEvent.ACKNOWLEDGED and self._frames.changes():
            # Asked in the step in which the backends would be let go, so that none becomes ready in between.
            return OldEvent.MORE_READY, detail
        return event, detail

    def _moved(self, event: OldEvent, detail: str) -> None:
        self._log.info("takeover.moved", state=self.state.value, because=event.value, detail=detail)
        if self.state in _PHASES:
            self._parts.life.note(_PHASES[self.state])

    # Whatever is raised in a takeover breaks it, and what follows from that is in the table.

    def _start(self, work: Callable[..., Awaitable[None]], *arguments: object) -> None:
        self._nursery.start_soon(self._contain, work, *arguments)

    async def _contain(self, work: Callable[..., Awaitable[None]], *arguments: object) -> None:
        try:
            await work(*arguments)
        except Exception as error:
            self._note_crash(work.__name__.strip("_"), error)

    def _note_crash(self, what: str, error: Exception) -> None:
        self._log.error("takeover.crashed", what=what, exc_info=error)
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or repr(error)
        broken = OldEvent.PREFLIGHT_FAILED if self._machine.state is OldState.PREFLIGHT else OldEvent.CHANNEL_BROKEN
        self._loop.note(broken, f"{what}: {said}")

    # Commands.

    def _do(self, command: OldCommand, _detail: str) -> None:
        try:
            self._perform(command)
        except HandoverBroken as error:
            self._start(self._loop.judge_break, error.detail)
        except Exception as error:
            self._note_crash(command.value, error)

    def _perform(self, command: OldCommand) -> None:
        parts = self._parts
        match command:
            case OldCommand.SPAWN_NEW:
                self._start(self._spawn)
            case OldCommand.SEND_WELCOME:
                self._send_welcome()
            case OldCommand.SEND_REFUSE:
                self._tell(FrameType.REFUSE, {"reason": self._machine.reason})
            case OldCommand.SEND_LISTENERS:
                self._handing.hand(self._frames.listeners())
            case OldCommand.SEND_STATE:
                self._handing.hand([self._frames.whole_state])
            case OldCommand.SEND_BACKENDS:
                self._handing.hand(self._frames.backends())
            case OldCommand.SEND_CHANGES:
                self._handing.hand(self._frames.changes())
            case OldCommand.LET_GO:
                self._going = self._frames.going()
                self._following.begin(self._going)
            case OldCommand.SEND_COMMIT:
                # Not after a failure in between: then everything returns.
                if self._following.active:
                    self._send_commit()
            case OldCommand.STOP_ACCEPTING:
                parts.plane.suspend()
                # Those who listen come back at once, and to the process that has the events now.
                parts.door.close()
                parts.events.part()
            case OldCommand.DRAIN_CLIENTS:
                self._start(self._drain)
                if self._agreement.protocol >= SIGNS_OF_LIFE:
                    self._start(self._wait_silence)
            case OldCommand.ACCEPT_AGAIN:
                parts.plane.resume()
                parts.door.open()
                parts.events.skip()
            case OldCommand.TAKE_BACK:
                self._following.end()
                # The next process has a higher number than the one that died: what that one said is of the past.
                parts.life.incarnation += 2
            case OldCommand.KILL_NEW:
                self._new.signal(signal.SIGKILL)
            case OldCommand.STOP_NEW:
                self._tell(FrameType.TERMINATE, {})
            case OldCommand.SEND_RELEASED:
                self._tell(FrameType.RELEASED, {"generation": parts.life.incarnation + 1})
            case OldCommand.ASK_PATIENCE:
                parts.manager.extend(PATIENCE + (self._machine.deadline or 0.0) - trio.current_time())
            case OldCommand.TELL_MAINPID:
                parts.manager.hand_over(self._new.pid)
            case OldCommand.CLOSE_LISTENERS:
                self._close_listeners()
            case OldCommand.HURRY_CLIENTS:
                self._leaving.hurry.set()
                parts.predecessor.hurry()
            case OldCommand.CUT_CLIENTS:
                self._log.info("takeover.clients_cut", clients=parts.plane.cut_clients())
                parts.predecessor.terminate(everybody=True)
            case OldCommand.SEND_BYE:
                self._log.info("takeover.bye")
                self._leaving.say_bye()
            case OldCommand.REPORT_FAILURE:
                self._report_failure()
            case OldCommand.REPORT_SUCCESS:
                self._report()
            case OldCommand.REPORT_STOP:
                self._report(stopped="the proxy was told to stop, so both processes end")

    async def _preflight(self) -> None:
        try:
            await self._new.preflight()
        except Refused as refused:
            self._refused = refused
            self._loop.note(OldEvent.PREFLIGHT_FAILED, refused.detail)
        else:
            self._loop.note(OldEvent.PREFLIGHT_PASSED)

    async def _spawn(self) -> None:
        try:
            await self._new.spawn()
        except OSError as error:
            self._loop.note(OldEvent.PEER_DIED, f"{self._new.command[0]} cannot be started: {error.strerror}")
            return
        self._watch()

    def _watch(self) -> None:
        self._start(self._serve_channel)
        self._start(self._wait_death)

    async def _wait_death(self) -> None:
        detail = await self._new.wait_death()
        if self._machine.state is OldState.DRAINING:
            serving = read_pid(self._parts.premises.directory)
            if serving not in (None, os.getpid(), self._new.pid) and lives(serving):
                # It had handed over to the next one before it died: somebody serves, so nobody has to hurry.
                self._log.warning("takeover.successor_died", detail=detail, serving=serving)
                return
        self._loop.note(OldEvent.PEER_DIED, detail)

    async def _wait_silence(self) -> None:
        self._loop.note(OldEvent.PEER_SILENT, await self._new.wait_silence())

    async def _drain(self) -> None:
        await self._leaving.drain(
            timeout=self._order.drain_timeout, released=lambda: self._machine.state is OldState.DRAINING
        )
        self._loop.note(OldEvent.DRAINED)

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
            await self._loop.judge_break(error.detail)

    def _hear(self, received: Received) -> None:
        frame = received.frame
        match frame.type:
            case FrameType.HELLO:
                self._hear_hello(received)
            case FrameType.ACK:
                self._handing.hear_ack(frame.number("seq"))
            case FrameType.RELEASE_BACKEND | FrameType.BACKEND_ADDED | FrameType.BACKEND_GONE | FrameType.ORDER if (
                self._following.active
            ):
                self._following.hear(frame, self._start)
            case FrameType.TERMINATE if self._parts.predecessor.present and not frame.body.get("all"):
                # The oldest is meant.
                self._parts.predecessor.terminate()
            case FrameType.TERMINATE:
                self._loop.note(OldEvent.TERMINATE_RECEIVED, "", received)
            case kind if kind in _HEARD:
                self._loop.note(_HEARD[kind], str(frame.body.get("reason", "")), received)
            case kind:
                self._loop.note(OldEvent.CHANNEL_BROKEN, f"a {kind} frame is not the new side's to send", received)

    def _hear_hello(self, received: Received) -> None:
        try:
            info = parse_handoff_info(received.frame.body)
            self._new.version = info.version
            self._new.pid = self._new.pid or received.frame.number("pid")
            problem = self._why_stranger(received.frame.body.get("config"))
            if not problem:
                self._agreement = agree(own_handoff_info(), info)
        except (HandoffUnreadable, Refused) as error:
            problem = error.detail
        self._loop.note(OldEvent.HELLO_REFUSED if problem else OldEvent.HELLO_ACCEPTED, problem, received)

    def _why_stranger(self, config: object) -> str:
        """Tell why a process that has come by itself is none of this proxy; empty when it is one."""
        ours = self._parts.config_path
        if not self._called or not isinstance(config, str) or is_same_file(config, ours):
            return ""
        return (
            f"this proxy runs {ours} and was called by one with {config}; two proxies need a state_dir each, and "
            f"another configuration for this one is taken over by: hotswap takeover --to {config}"
        )

    # What is said to it.

    def _tell(self, kind: FrameType, body: Mapping[str, Any], descriptors: Sequence[int] = ()) -> int:
        return -1 if self._new.channel is None else self._new.channel.send(kind, body, descriptors)

    def _send_welcome(self) -> None:
        parts = self._parts
        # It has said that it is there, so it handles them.
        for number in self._signals:
            self._new.signal(number)
        self._tell(
            FrameType.WELCOME,
            {
                "protocol": self._agreement.protocol,
                "schema": self._agreement.schema,
                "generation": parts.life.incarnation,
                "pid": os.getpid(),
                "probation": self._order.probation,
            },
        )

    def _send_commit(self) -> None:
        body = self._frames.commit(self._going)
        self._leaving.note_commit()
        state = seal(self._frames.state())
        try:
            self._tell(FrameType.COMMIT, body, (state,))
        finally:
            os.close(state)

    # The end, in whatever way.

    def _close_listeners(self) -> None:
        parts = self._parts
        # Before we end: who waits for us to serve, as the stub of a container does, must find somebody else then.
        for directory in parts.pid_directories:
            write_pid(directory, self._new.pid)
        parts.listeners.disown()
        parts.door.leave()
        parts.plane.disown_listeners()
        parts.guardian.leave(member.process.pid for member in self._going)
        # Its sockets are in use for a while, but nothing is made in it by us any more.
        parts.premises.leave()

    def _report_failure(self, *, step: OldState | None = None, reason: str = "") -> None:
        machine, parts = self._machine, self._parts
        step, reason = step or machine.failed_in, reason or machine.reason
        self.result = TakeoverResult(
            done=False,
            generation=parts.life.incarnation,
            pid=os.getpid(),
            version=self._new.version,
            step="" if step is None else step.value,
            reason=reason,
            refused=self._refused if machine.state is OldState.REFUSED else None,
        )
        outcome = {OldState.REFUSED: "refused", OldState.RETURNED: "returned"}.get(machine.state, "failed")
        parts.tally.takeovers[outcome] += 1
        self._log.error("takeover.failed", outcome=outcome, step=step, reason=reason)
        parts.events.publish("takeover.failed", outcome=outcome, step=step, reason=reason)
        parts.manager.reloaded()
        self.reported.set()

    def _report(self, *, stopped: str = "") -> None:
        """Everything is the new process's own for good, even if both are about to stop, and why they are."""
        self.result = TakeoverResult(
            done=not stopped,
            generation=self._parts.life.incarnation + 1,
            pid=self._new.pid,
            version=self._new.version,
            step=OldState.PROBATION.value if stopped else "",
            reason=stopped,
        )
        told = {"detail": stopped} if stopped else {}
        self._log.info("takeover.released", pid=self._new.pid, version=self._new.version, **told)
        self.reported.set()

    async def _salvage(self, error: Exception) -> None:
        """End what cannot go on by its table: the new process, unless everything is its own for good."""
        self._log.error("takeover.crashed", exc_info=error)
        state = self._machine.state
        if state in (OldState.DRAINING, OldState.GONE):
            return
        self._salvaged = True
        self._new.signal(signal.SIGKILL)
        if self._new.pidfd >= 0:
            with trio.move_on_after(SALVAGE_PATIENCE):
                await self._new.wait_death()
        if self._following.active:
            self._perform(OldCommand.ACCEPT_AGAIN)
            self._perform(OldCommand.TAKE_BACK)
        self._report_failure(step=state, reason=f"a defect in the takeover itself: {error!r}")
