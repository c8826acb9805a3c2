"""Takeovers as verbs of the proxy: asked for by an operator, or by a new process that comes by itself."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from proxy.control.channel import PATH_NAME, Channel, connect_to, listen_on, peer_of
from proxy.control.succession import CouldNotTakeOver
from proxy.control.takeover import Takeover, refuse_takeover
from proxy.control.takeover_order import TakeoverFailed, TakeoverOrder, TakeoverResult
from proxy.core.errors import Refused
from proxy.core.takeover_old import OldState
from proxy.wire.handover import FrameType, HandoverBroken

if TYPE_CHECKING:
    from proxy.control.runtime import Runtime


async def start_takeover(runtime: Runtime, order: TakeoverOrder) -> TakeoverResult:
    """Hand everything to a new process, and wait until it is known whether that went well.

    Raises:
        Refused: it was not begun; nothing was changed.
        TakeoverFailed: it was given up; everything is as before.

    **Cancellation**: it goes on.
    """
    refused = refuse_takeover(runtime)
    if refused is not None:
        _tell_refusal(runtime, refused)
        raise refused
    takeover = begin(runtime, order)
    await takeover.reported.wait()
    result = takeover.result
    if result is None or not result.done:
        if result is not None and result.refused is not None:
            raise result.refused
        raise TakeoverFailed(
            result
            or TakeoverResult(
                done=False, generation=runtime.incarnation, pid=os.getpid(), step=takeover.state, reason="cancelled"
            )
        )
    return result


def begin(
    runtime: Runtime, order: TakeoverOrder, *, called: socket.socket | None = None, caller: int | None = None
) -> Takeover:
    """Begin a takeover that nothing is said against."""
    if runtime.predecessor.depth >= 2:
        # Two generations of clients that take their time are enough.
        runtime.predecessor.terminate()
    takeover = runtime.takeover = Takeover(runtime, order, called=called)
    runtime.nursery.start_soon(_perform, runtime, takeover, caller)
    return takeover


async def _perform(runtime: Runtime, takeover: Takeover, caller: int | None) -> None:
    try:
        await takeover.run(caller)
    except Exception as error:
        runtime.log.error("takeover.crashed", exc_info=error)
    if takeover.state is OldState.GONE:
        runtime.depart(takeover.successor)
    elif not takeover.given_away:
        runtime.takeover = None


def _tell_refusal(runtime: Runtime, refused: Refused) -> None:
    runtime.tally.takeovers["refused"] += 1
    runtime.log.warning("takeover.refused", code=refused.code.value, detail=refused.detail)
    runtime.events.publish("takeover.refused", code=refused.code.value, detail=refused.detail)


# A new process that comes by itself.


async def serve_calls(runtime: Runtime, directory: Path) -> None:
    """Wait in the state directory for processes that want to take over, until cancelled."""
    try:
        waiting = listen_on(directory / PATH_NAME)
    except OSError as error:
        runtime.log.warning("takeover.no_path", path=str(directory / PATH_NAME), detail=error.strerror)
        return
    made = os.stat(directory / PATH_NAME)
    try:
        while True:
            await trio.lowlevel.wait_readable(waiting)
            try:
                called, _ = waiting.accept()
            except OSError:
                continue
            _answer(runtime, called)
    finally:
        trio.lowlevel.notify_closing(waiting)
        waiting.close()
        _remove_own(directory / PATH_NAME, made)


def _answer(runtime: Runtime, called: socket.socket) -> None:
    peer = peer_of(called)
    refused = refuse_takeover(runtime)
    reason = ""
    pidfd = -1
    if peer.user not in (os.geteuid(), 0):
        reason = f"user {peer.user} may not take over from user {os.geteuid()}"
    elif refused is not None:
        reason = f"{refused.code}: {refused.detail}"
    else:
        try:
            pidfd = os.pidfd_open(peer.pid)
        except OSError as error:
            reason = f"process {peer.pid} cannot be watched: {error.strerror}"
    if reason:
        runtime.log.warning("takeover.refused", pid=peer.pid, detail=reason)
        channel = Channel(called)
        try:
            channel.send(FrameType.REFUSE, {"reason": reason})
        except HandoverBroken:
            pass
        channel.close()
        return
    begin(runtime, TakeoverOrder(trigger=f"process {peer.pid}"), called=called, caller=pidfd)


def _remove_own(path: Path, made: os.stat_result) -> None:
    try:
        found = os.lstat(path)
        if (found.st_dev, found.st_ino) == (made.st_dev, made.st_ino):
            os.unlink(path)
    except OSError:
        pass


def open_inherited(descriptor: int) -> socket.socket:
    """Take over the end of a channel that this process was started with.

    Raises:
        CouldNotTakeOver: it is something else.
    """
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        raise CouldNotTakeOver(f"descriptor {descriptor} is no channel: {error.strerror}") from error
    sock.set_inheritable(False)
    return sock


def call(state_dir: Path) -> socket.socket:
    """Call the proxy that runs with a state directory.

    Raises:
        CouldNotTakeOver: none waits there.
    """
    path = state_dir / PATH_NAME
    try:
        return connect_to(path)
    except OSError as error:
        raise CouldNotTakeOver(f"no proxy waits for its successor at {path}: {error.strerror}") from error
