"""Supervises the process of one backend: output, notifications, exit, stop and kill.

Theory. A backend is watched by its pidfd and not by being its parent, so a process that was spawned here and
one that was adopted from another proxy are the same class: both wake up the same wait, and only the exit
status of a stranger stays unknown, because the kernel tells it to the parent alone. A process id is used only
while it cannot have passed to somebody else: signals to the process go through the pidfd, those to its group
are checked against the time at which its leader started, and what is left of its session is ended before the
leader is reaped.

`serve` does the watching and has to run for as long as the process lives; every `wait_` here depends on it.
Cancelling `serve` ends nothing: the process lives on, and `serve` may be called again, here or by another
proxy.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import trio
from structlog.typing import FilteringBoundLogger

from hotswap.core.address import Address
from hotswap.processes.exit_status import Exit, reap
from hotswap.processes.guard import signal_group
from hotswap.processes.guardian import Guardian
from hotswap.processes.listening import remove_path
from hotswap.processes.notification import Notification, NotifySocket, describe_errno
from hotswap.processes.output import TAIL_LINES, LineSink, OutputRelay
from hotswap.processes.remains import KILL_PATIENCE, Remains

_LAST_OUTPUT_TIMEOUT: Final = 0.25
"""Seconds to wait for the end of the output once the process is gone: somebody outside of its group may hold
it."""

_CRASH_GRACE: Final = 2.0
"""Seconds that the rest of a backend has which nobody has asked to stop; its slot waits for that."""

_MAX_COMPLAINTS: Final = 10
"""So many messages that cannot be understood are logged for one process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessHandles:
    """Descriptors and ids of a supervised process: all that another proxy needs to adopt it.

    Attributes:
        pid: its process id, also the id of its session and process group.
        start: when it started, from `hotswap.processes.guard.start_time_of`.
        pidfd: becomes readable when it ends.
        output: reading end of its output, non-blocking.
        notify: receiving end of its notify socket, or None.
    """

    pid: int
    start: int
    pidfd: int
    output: int | None
    notify: NotifySocket | None


class BackendProcess:
    """A supervised process, spawned or adopted.

    Attributes:
        pid: its process id, also the id of its session and process group.
        start: when it started; with `pid` its name for ever.
        address: where it is reached.
        exit: its exit status, or None while it lives.
        ready_said, stopping_said, status: what it said of itself: `READY=1`, `STOPPING=1`, the text of
            `STATUS=`.
    """

    def __init__(
        self,
        handles: ProcessHandles,
        *,
        address: Address,
        stop_signal: signal.Signals,
        relay: LineSink,
        log: FilteringBoundLogger,
        guardian: Guardian | None = None,
        tail: tuple[str, ...] = (),
        adopted: bool = False,
    ) -> None:
        """Take over the handles; the guardian, where there is one, is told at once.

        Args:
            handles: of the process.
            address: its path is removed at the end.
            stop_signal: what asks it to end.
            relay: takes each line of its output.
            log: where this process is complained about; bound to the backend's pool, slot and generation.
            guardian: ends it should the proxy die.
            tail: last lines of its output that were read elsewhere.
            adopted: another proxy spawned it, whose guardian watches it for now; it was ready there.
        """
        self.pid = handles.pid
        self.start = handles.start
        self.address = address
        self.ready_said = adopted or handles.notify is None
        self.stopping_said = False
        self.status = ""
        self._tail: deque[str] = deque(tail, maxlen=TAIL_LINES)
        self._pidfd = handles.pidfd
        self._relay = None if handles.output is None else OutputRelay(handles.output, relay, tail=self._tail)
        self._notify = handles.notify
        self._stop_signal = stop_signal
        self._log = log
        self._guardian = guardian
        self._error: int | None = None
        self._remains = Remains(self.pid, self.start)
        self._stop_deadline: float | None = None
        self._complaints = 0
        self.exit: Exit | None = None
        self._ended = trio.Event()
        self._ready = trio.Event()
        self._cannot_serve = trio.Event()
        if self.ready_said:
            self._ready.set()
        if guardian is not None:
            (guardian.adopt if adopted else guardian.watch)(self.pid, self.start)

    @property
    def ended(self) -> bool:
        """Set when it is gone and everything that follows from that is done."""
        return self._ended.is_set()

    @property
    def handles(self) -> ProcessHandles:
        """What another proxy needs to adopt it; valid while it lives. Ownership stays here."""
        return ProcessHandles(
            pid=self.pid,
            start=self.start,
            pidfd=self._pidfd,
            output=None if self._relay is None else self._relay.fd,
            notify=self._notify,
        )

    async def serve(self) -> None:
        """Relay output and notifications until the process is gone, then clean up.

        At the end nothing of its session is left, its last output has been relayed, its socket paths
        are removed and every `wait_exit` returns.

        **Cancellation**: the process lives on, and nothing that was read is lost.
        """
        if self.exit is None:
            async with trio.open_nursery() as nursery:
                if self._relay is not None:
                    nursery.start_soon(self._relay.serve)
                if self._notify is not None:
                    nursery.start_soon(self._serve_notifications, self._notify)
                await trio.lowlevel.wait_readable(self._pidfd)
                # Before the leader is reaped nobody else can have its number.
                await self._end_remains()
                nursery.cancel_scope.cancel()
            self._finish()
        try:
            if self._relay is not None:
                with trio.move_on_after(_LAST_OUTPUT_TIMEOUT):
                    await self._relay.serve()
                self._relay.finish()
        finally:
            self._close()
            self._ended.set()

    async def watch(self) -> None:
        """Wait until the process is gone and reap it; another proxy does the rest. **Cancellation** changes nothing."""
        await trio.lowlevel.wait_readable(self._pidfd)
        self.exit = reap(self._pidfd)
        if self._guardian is not None:
            self._guardian.forget(self.pid)
        self.release_handles()
        self._ended.set()

    async def wait_exit(self) -> Exit:
        """Block until the process is gone and its last output has been relayed."""
        await self._ended.wait()
        assert self.exit is not None
        return self.exit

    async def wait_notified(self) -> None:
        """Block until it sent `READY=1`; returns at once when it need not."""
        await self._ready.wait()

    async def wait_cannot_serve(self) -> str:
        """Block until it sent `ERRNO=`, and give that in words."""
        await self._cannot_serve.wait()
        return self.cannot_serve() or ""

    def cannot_serve(self) -> str | None:
        """What it said with `ERRNO=`, with its status text; None when it did not."""
        if self._error is None:
            return None
        return ": ".join(part for part in (describe_errno(self._error), self.status) if part)

    def output_lines(self) -> tuple[str, ...]:
        """The last lines it wrote, oldest first."""
        return tuple(self._tail)

    def terminate(self, *, stop_timeout: float) -> None:
        """Send its stop signal to the process alone. Harmless when it is gone.

        What it leaves behind when it has gone is asked too, and killed when the time is over.

        Args:
            stop_timeout: seconds for all of that.
        """
        self._stop_deadline = trio.current_time() + stop_timeout
        self._signal(self._stop_signal)
        # One that was stopped takes the signal only when it goes on.
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """Send SIGKILL to its process group. Harmless when it is gone."""
        if self.exit is None:
            self._remains.kill()
            signal_group(self.pid, self.start, signal.SIGKILL)
            # It may have moved to another group.
            self._signal(signal.SIGKILL)

    async def stop(self, *, stop_timeout: float) -> bool:
        """Send its stop signal, and kill its group if it has not ended in time.

        Args:
            stop_timeout: seconds from the stop signal to SIGKILL.

        Returns:
            Whether it was killed.

        **Cancellation**: it has been asked, and may live on.
        """
        self.terminate(stop_timeout=stop_timeout)
        with trio.move_on_after(stop_timeout):
            await self._ended.wait()
        killed = self.exit is None
        if killed:
            self.kill()
            with trio.move_on_after(KILL_PATIENCE):
                await self._ended.wait()
        if self.exit is None:
            self._log.error("backend.immortal", pid=self.pid, detail="still there after SIGKILL; given up")
        return killed

    def give_back(self) -> None:
        """Leave an adopted process to the proxy that it came from. Call before `serve`."""
        if self._guardian is not None:
            self._guardian.give_back(self.pid)
        self.release_handles()

    def _signal(self, number: signal.Signals) -> None:
        if self.exit is None:
            with suppress(OSError):
                signal.pidfd_send_signal(self._pidfd, number)

    async def _end_remains(self) -> None:
        deadline = trio.current_time() + _CRASH_GRACE if self._stop_deadline is None else self._stop_deadline
        killed = await self._remains.end(deadline=deadline)
        if killed:
            detail = "processes that it has left behind did not end, and were killed"
            self._log.warning("backend.remains_killed", pid=self.pid, processes=killed, detail=detail)

    def _finish(self) -> None:
        """Process the exit. No checkpoint in here: it happens whole or not at all."""
        # What it sent last is still in the socket, and it can still be asked who sent it.
        self._take_notifications()
        self.exit = reap(self._pidfd)
        if self._guardian is not None:
            self._guardian.forget(self.pid)

    def _close(self) -> None:
        self.release_handles()
        if self._notify is not None:
            self._notify.close()
        remove_path(self.address)

    def release_handles(self) -> None:
        """Close our handles and keep the paths: another proxy supervises the process for good."""
        if self._pidfd >= 0:
            trio.lowlevel.notify_closing(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1
        if self._relay is not None:
            self._relay.close()
        if self._notify is not None:
            self._notify.socket.close()

    async def _serve_notifications(self, notify: NotifySocket) -> None:
        while True:
            await trio.lowlevel.wait_readable(notify.socket.fileno())
            self._take_notifications()

    def _take_notifications(self) -> None:
        if self._notify is None:
            return
        # Bounded, so that a backend that sends without end cannot keep everybody else waiting.
        for _ in range(100):
            try:
                self._note(self._notify.receive(session=self.pid))
            except BlockingIOError:
                return
            except OSError as error:
                self._complain((str(error),))
                return

    def _note(self, notification: Notification) -> None:
        if notification.ignored:
            self._complain(notification.ignored)
        if notification.status is not None:
            self.status = notification.status
        if notification.stopping:
            self.stopping_said = True
        if notification.error is not None and self._error is None:
            self._error = notification.error
            self._cannot_serve.set()
        if notification.ready:
            self.ready_said = True
            self._ready.set()

    def _complain(self, ignored: tuple[str, ...]) -> None:
        if self._complaints < _MAX_COMPLAINTS:
            self._complaints += 1
            self._log.warning("backend.notification_ignored", pid=self.pid, ignored=list(ignored[:3]))
