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
import subprocess
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import trio

from proxy.control.admin.sockets import AdminSocket
from proxy.control.channel import Channel, Received, is_dead, open_pair, seal
from proxy.control.fault import fault
from proxy.control.following import Following
from proxy.control.handoff import ask_new_version, new_command, new_environment
from proxy.control.handoff_info import own_handoff_info
from proxy.control.handover_state import since, write_state, write_tally
from proxy.control.static_pool import StaticPool
from proxy.control.supervised_backend import SupervisedBackend
from proxy.control.supervised_pool import SupervisedPool
from proxy.control.takeover_order import TakeoverOrder, TakeoverResult
from proxy.core.errors import RefusalCode, Refused
from proxy.core.takeover_machine import UnexpectedInTakeover
from proxy.core.takeover_old import OldCommand, OldEvent, OldState, old_side
from proxy.core.takeover_versions import Agreement, HandoffUnreadable, agree, parse_handoff_info
from proxy.processes.supervisor import Exit
from proxy.wire.handover import FrameType, HandoverBroken

if TYPE_CHECKING:
    from proxy.control.runtime import Runtime

REPORT_INTERVAL: Final = 1.0
"""Seconds between two reports of the drain."""

LATEST_CUT: Final = 30.0
"""Seconds from the end of the drain until whoever is left is cut."""

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

    def __init__(self, runtime: Runtime, order: TakeoverOrder, *, called: socket.socket | None = None) -> None:
        """Make it; it begins with `run`.

        Args:
            runtime: the proxy.
            order: what is wanted.
            called: the connection of a process that has come by itself; None: one is started.
        """
        self.reported = trio.Event()
        self.ended = trio.Event()
        self.result: TakeoverResult | None = None
        self._runtime = runtime
        self._order = order
        self._log = runtime.log.bind(takeover=runtime.incarnation + 1)
        self._config = order.config or runtime.config_path
        self._command = new_command(order.executable)
        self._environment = new_environment(os.environ)
        self._refused: Refused | None = None
        self._version = ""
        self._process: trio.Process | None = None
        self._pid = 0
        self._pidfd = -1
        self._channel: Channel | None = None if called is None else Channel(called)
        self._queue: deque[tuple[FrameType, dict[str, Any], tuple[int, ...]]] = deque()
        self._awaited: int | None = None
        self._handed: set[int] = set()
        self._counted: dict[str, Any] = {}
        self._hurry = trio.Event()
        self._following = Following(runtime, self._tell)
        self._send_events, self._events = trio.open_memory_channel[_Event](1000)
        self._machine = old_side(
            now=trio.current_time(),
            start=OldState.PREFLIGHT if called is None else OldState.GREETING,
            probation=order.probation,
            drain=order.drain_timeout + LATEST_CUT,
        )

    @property
    def state(self) -> OldState:
        """Where it is."""
        return self._machine.state

    @property
    def successor(self) -> int:
        """The process id of the new process."""
        return self._pid

    @property
    def given_away(self) -> bool:
        """The backends are not ours at the moment."""
        return self._following.active

    def ask_stop(self) -> None:
        """The proxy is to stop: end it, one way or the other."""
        if os.getpid() == 1 and self.state is OldState.DRAINING:
            # Whoever stops a container can reach its first process only.
            self._signal(signal.SIGTERM)
        self._note(OldEvent.STOP_ASKED, "the proxy was told to stop")

    async def run(self, caller: int | None = None) -> None:
        """Perform it to its end.

        Args:
            caller: pidfd of the process that has come by itself; taken over.

        **Cancellation**: the new process is left alone.
        """
        runtime = self._runtime
        self._log.info("takeover.started", trigger=self._order.trigger, command=list(self._command))
        runtime.events.publish("takeover.started", trigger=self._order.trigger)
        runtime.manager.reloading()
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                if caller is not None:
                    self._watch(caller)
                else:
                    nursery.start_soon(self._preflight)
                while not self._machine.ended:
                    self._handle(*await self._next_event())
                nursery.cancel_scope.cancel()
        finally:
            self._clean_up()
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
        try:
            commands = machine.on(event, now=trio.current_time(), detail=detail)
        except UnexpectedInTakeover:
            return
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
            self._note(OldEvent.CHANNEL_BROKEN, error.detail)
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
                self._hand(self._listener_frames())
            case OldCommand.SEND_STATE:
                self._hand([self._state_frame()])
            case OldCommand.SEND_BACKENDS:
                self._hand(self._backend_frames())
            case OldCommand.SEND_CHANGES:
                self._hand(self._backend_frames())
            case OldCommand.LET_GO:
                self._following.begin()
            case OldCommand.SEND_COMMIT:
                self._send_commit()
            case OldCommand.STOP_ACCEPTING:
                runtime.plane.suspend()
                runtime.admin_door.close()
            case OldCommand.DRAIN_CLIENTS:
                self._nursery.start_soon(self._drain)
            case OldCommand.ACCEPT_AGAIN:
                runtime.plane.resume()
                runtime.admin_door.open()
            case OldCommand.TAKE_BACK:
                self._take_back()
            case OldCommand.KILL_NEW:
                self._signal(signal.SIGKILL)
            case OldCommand.STOP_NEW:
                self._tell(FrameType.TERMINATE, {})
            case OldCommand.SEND_RELEASED:
                self._tell(FrameType.RELEASED, {"generation": runtime.incarnation + 1})
            case OldCommand.TELL_MAINPID:
                runtime.manager.hand_over(self._pid)
            case OldCommand.CLOSE_LISTENERS:
                self._close_listeners()
            case OldCommand.HURRY_CLIENTS:
                self._hurry.set()
                runtime.predecessor.hurry()
            case OldCommand.CUT_CLIENTS:
                self._log.info("takeover.clients_cut", clients=runtime.plane.cut_clients())
                runtime.predecessor.terminate()
            case OldCommand.SEND_BYE:
                self._send_bye()
            case OldCommand.REPORT_FAILURE:
                self._report_failure()
            case OldCommand.REPORT_SUCCESS:
                self._report_success()

    async def _preflight(self) -> None:
        try:
            info = await ask_new_version(self._command, self._config, environment=self._environment)
        except Refused as refused:
            self._refused = refused
            self._note(OldEvent.PREFLIGHT_FAILED, refused.detail)
        else:
            self._version = info.version
            self._note(OldEvent.PREFLIGHT_PASSED)

    async def _spawn(self) -> None:
        channel, theirs = open_pair()
        self._channel = channel
        with theirs:
            argv = [*self._command, "run", "--takeover-fd", str(theirs.fileno()), str(self._config)]
            try:
                self._process = await trio.lowlevel.open_process(
                    argv, env=self._environment, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
                )
            except OSError as error:
                self._note(OldEvent.PEER_DIED, f"{argv[0]} cannot be started: {error.strerror}")
                return
        self._watch(os.pidfd_open(self._process.pid), self._process.pid)

    def _watch(self, pidfd: int, pid: int = 0) -> None:
        self._pidfd = pidfd
        self._pid = pid
        self._nursery.start_soon(self._serve_channel)
        self._nursery.start_soon(self._wait_death)

    async def _wait_death(self) -> None:
        await trio.lowlevel.wait_readable(self._pidfd)
        detail = "the new process ended"
        if self._process is not None:
            code = await self._process.wait()
            detail = f"the new process ended: {Exit(code=code) if code >= 0 else Exit(signal=-code)}"
        # What it sent before it died comes first.
        await trio.sleep(0.01)
        self._note(OldEvent.PEER_DIED, detail)

    # What the new side says.

    async def _serve_channel(self) -> None:
        assert self._channel is not None
        try:
            while True:
                received = await self._channel.receive()
                received.descriptors.close()
                self._hear(received)
        except HandoverBroken as error:
            # Its death says more than the end of the channel, which follows from it.
            with trio.move_on_after(0.2):
                while not is_dead(self._pidfd):
                    await trio.sleep(0.01)
                return
            self._note(OldEvent.CHANNEL_BROKEN, error.detail)

    def _hear(self, received: Received) -> None:
        frame = received.frame
        match frame.type:
            case FrameType.HELLO:
                self._hear_hello(received)
            case FrameType.ACK:
                self._hear_ack(frame.number("seq"))
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
        self._version = info.version
        self._pid = self._pid or received.frame.number("pid")
        verdict = agree(own_handoff_info(), info)
        if isinstance(verdict, Agreement):
            self._agreement = verdict
            self._note(OldEvent.HELLO_ACCEPTED, "", received)
        else:
            self._note(OldEvent.HELLO_REFUSED, verdict.detail, received)

    def _hear_ack(self, seq: int) -> None:
        if seq != self._awaited:
            self._note(OldEvent.CHANNEL_BROKEN, f"frame {seq} was acknowledged instead of {self._awaited}")
            return
        self._awaited = None
        try:
            self._hand_next()
        except HandoverBroken as error:
            self._note(OldEvent.CHANNEL_BROKEN, error.detail)

    # What is said to it.

    def _tell(self, kind: FrameType, body: Mapping[str, Any], descriptors: Sequence[int] = ()) -> None:
        if self._channel is not None:
            self._channel.send(kind, body, descriptors)

    def _hand(self, frames: Sequence[tuple[FrameType, dict[str, Any], tuple[int, ...]]]) -> None:
        """Send frames one at a time, each when the one before was acknowledged: never two sets in flight."""
        self._queue.extend(frames)
        self._hand_next()

    def _hand_next(self) -> None:
        assert self._channel is not None
        if self._awaited is not None:
            return
        if not self._queue:
            self._note(OldEvent.ACKNOWLEDGED)
            return
        kind, body, descriptors = self._queue.popleft()
        if "member" in body:
            kind, body, descriptors = self._backend_frame(body["member"])
        self._awaited = self._channel.send(kind, body, descriptors)
        if kind is FrameType.STATE:
            os.close(descriptors[0])

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

    def _listener_frames(self) -> list[tuple[FrameType, dict[str, Any], tuple[int, ...]]]:
        runtime = self._runtime
        frames: list[tuple[FrameType, dict[str, Any], tuple[int, ...]]] = [
            (
                FrameType.LISTENER,
                _describe(handed.socket, name=handed.listener, asked=str(handed.asked), owned=handed.owned),
                (handed.socket.fileno(),),
            )
            for handed in runtime.listeners.hand_over()
        ]
        door = runtime.admin_door
        frames += [_admin_frame(one, str(asked)) for one, asked in zip(door.sockets, door.asked, strict=True)]
        return frames

    def _state_frame(self) -> tuple[FrameType, dict[str, Any], tuple[int, ...]]:
        guardian = self._runtime.guardian
        body = {"backends": [member.process.pid for member in self._members()]}
        return FrameType.STATE, body, (seal(self._state()), guardian.pipe)

    def _state(self) -> dict[str, Any]:
        runtime = self._runtime
        return write_state(
            runtime.pools.values(), last_rollout=runtime.book.last, events=runtime.events, tally=runtime.tally
        )

    def _members(self) -> list[SupervisedBackend]:
        pools = self._runtime.pools.values()
        return [member for pool in pools if isinstance(pool, SupervisedPool) for member in pool.serving_members()]

    def _backend_frames(self) -> list[tuple[FrameType, dict[str, Any], tuple[int, ...]]]:
        return [
            (FrameType.BACKEND, {"member": member}, ())
            for member in self._members()
            if member.process.pid not in self._handed
        ]

    def _backend_frame(self, member: SupervisedBackend) -> tuple[FrameType, dict[str, Any], tuple[int, ...]]:
        backend, process = member.backend, member.process
        self._handed.add(process.pid)
        if not member.alive:
            return FrameType.BACKEND, {"pid": process.pid, "gone": True}, ()
        handles = process.handles
        now = trio.current_time()
        descriptors = [handles.pidfd]
        if handles.output is not None:
            descriptors.append(handles.output)
        if handles.notify is not None:
            descriptors.append(handles.notify.socket.fileno())
        body = {
            "pool": backend.pool,
            "slot": backend.slot,
            "generation": backend.generation,
            "pid": process.pid,
            "start": process.start,
            "address": str(backend.address),
            "state": backend.state.value,
            "health": backend.health.value,
            "ready_for": now - (member.ready_at or now),
            "output": handles.output is not None,
            "notify": None if handles.notify is None else handles.notify.path,
            "status": process.status,
            # Each of them is at most 8 KiB long, and a frame holds 64.
            "tail": list(process.output_lines()[-5:]),
        }
        return FrameType.BACKEND, body, tuple(descriptors)

    def _send_commit(self) -> None:
        backends = [
            {
                "pid": member.process.pid,
                "state": member.backend.state.value,
                "health": member.backend.health.value,
            }
            for member in self._members()
        ]
        self._counted = write_tally(self._runtime.tally)
        state = seal(self._state())
        try:
            self._tell(
                FrameType.COMMIT,
                {"generation": self._runtime.incarnation + 1, "backends": backends},
                (state,),
            )
        finally:
            os.close(state)

    def _send_counts(self, kind: FrameType, body: dict[str, Any]) -> None:
        counted = write_tally(self._runtime.tally)
        grown = seal(since(self._counted, counted))
        try:
            self._tell(kind, body, (grown,))
        finally:
            os.close(grown)
        self._counted = counted

    def _send_bye(self) -> None:
        self._log.info("takeover.bye")
        self._runtime.plane.ledger.flush()
        with suppress(HandoverBroken):
            self._send_counts(FrameType.BYE, {})

    # The drain.

    async def _drain(self) -> None:
        runtime = self._runtime
        runtime_connections = runtime.plane.connection_count
        async with trio.open_nursery() as nursery:

            async def report() -> None:
                while True:
                    await trio.sleep(REPORT_INTERVAL)
                    if self._machine.state is OldState.DRAINING:
                        runtime.guardian.reap()
                        with suppress(HandoverBroken):
                            self._send_counts(
                                FrameType.DRAINING,
                                {"connections": runtime_connections(), "depth": 1 + runtime.predecessor.depth},
                            )

            nursery.start_soon(report)
            await runtime.plane.wait_left(timeout=self._order.drain_timeout, hurry=self._hurry)
            # Whoever used a backend through us is gone; what we are the parent of, or came before us, may not be.
            while runtime.predecessor.present and not self._hurry.is_set():
                await trio.sleep(REPORT_INTERVAL / 10)
            if self._machine.state is OldState.PROBATION:
                self._note(OldEvent.DRAINED)
                while self._machine.state is OldState.PROBATION:
                    await trio.sleep(REPORT_INTERVAL / 20)
            if self._hurry.is_set():
                with trio.move_on_after(runtime.config.proxy.shutdown_timeout):
                    while runtime.plane.connection_count():
                        await trio.sleep(REPORT_INTERVAL / 20)
            if runtime.plane.connection_count() == 0:
                self._note(OldEvent.DRAINED)
            nursery.cancel_scope.cancel()

    # The end, in whatever way.

    def _signal(self, number: signal.Signals) -> None:
        if self._pidfd >= 0:
            with suppress(OSError):
                signal.pidfd_send_signal(self._pidfd, number)

    def _take_back(self) -> None:
        runtime = self._runtime
        self._following.end()
        # The next process has a higher number than the one that died: whatever it said is told from the past.
        runtime.incarnation += 2

    def _close_listeners(self) -> None:
        runtime = self._runtime
        runtime.listeners.disown()
        runtime.admin_door.handed_over = True
        for listener in runtime.plane.listeners.values():
            listener.open_listener.close()
        runtime.guardian.abandon()

    def _report_failure(self) -> None:
        machine, runtime = self._machine, self._runtime
        step = "" if machine.failed_in is None else machine.failed_in.value
        self.result = TakeoverResult(
            done=False,
            generation=runtime.incarnation,
            pid=os.getpid(),
            version=self._version,
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
            done=True, generation=runtime.incarnation + 1, pid=self._pid, version=self._version
        )
        self._log.info("takeover.released", pid=self._pid, version=self._version)
        self.reported.set()

    def _clean_up(self) -> None:
        if self._channel is not None:
            self._channel.close()
        if self._pidfd >= 0:
            trio.lowlevel.notify_closing(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1


def _describe(sock: socket.socket, *, name: str, asked: str, owned: bool, role: str = "public") -> dict[str, Any]:
    return {
        "role": role,
        "name": name,
        "asked": asked,
        "owned": owned,
        "family": int(sock.family),
        "address": _address(sock),
    }


def _address(sock: socket.socket) -> str:
    name = sock.getsockname()
    return name if isinstance(name, str) else f"{name[0]} {name[1]}"


def _admin_frame(one: AdminSocket, asked: str) -> tuple[FrameType, dict[str, Any], tuple[int, ...]]:
    body = _describe(one.socket, name="admin", asked=asked, owned=True, role="admin")
    return FrameType.LISTENER, body, (one.socket.fileno(),)


def refuse_takeover(runtime: Runtime) -> Refused | None:
    """Tell why a takeover cannot begin now; None when it can."""
    state: dict[str, object] = {"pid": os.getpid(), "generation": runtime.incarnation}
    if runtime.stopping:
        return Refused(RefusalCode.SHUTTING_DOWN, "the proxy is shutting down", state)
    if runtime.takeover is not None or runtime.settling:
        return Refused(RefusalCode.TAKEOVER_IN_PROGRESS, "a new proxy process is taking over already", state)
    for pool in runtime.pools.values():
        if isinstance(pool, StaticPool):
            continue
        if pool.rollout_id is not None:
            return Refused(
                RefusalCode.ROLLOUT_IN_PROGRESS,
                f"rollout {pool.rollout_id} of pool {pool.name} is in progress",
                {**state, "pool": pool.name, "rollout": pool.rollout_id},
            )
    if not runtime.booted:
        return Refused(RefusalCode.NOT_READY, "the proxy is still starting", state)
    return None
