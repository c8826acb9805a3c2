"""Takeovers as verbs of the proxy: asked for by an operator, or by a new process that comes by itself."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from hotswap.control.pools.static_pool import StaticPool
from hotswap.control.takeover.channel import PATH_NAME, Channel, connect_to, listen_on, peer_of
from hotswap.control.takeover.order import CouldNotTakeOver, TakeoverFailed, TakeoverOrder, TakeoverResult
from hotswap.control.takeover.succession import Succession
from hotswap.control.takeover.takeover import Takeover
from hotswap.control.telemetry.version import program_version
from hotswap.core.errors import RefusalCode, Refused
from hotswap.wire.handover import FrameType, HandoverBroken

if TYPE_CHECKING:
    from hotswap.control.process.runtime import Runtime


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
    if runtime.pools.proving:
        detail = "pools that are new in the configuration are being started"
        return Refused(RefusalCode.ROLLOUT_IN_PROGRESS, detail, state)
    if not runtime.booted:
        return Refused(RefusalCode.NOT_READY, "the proxy is still starting", state)
    return None


def begin(
    runtime: Runtime, order: TakeoverOrder, *, called: socket.socket | None = None, caller: int | None = None
) -> Takeover:
    """Begin a takeover that nothing is said against."""
    if runtime.predecessor.depth >= 2:
        # Two generations of clients that take their time are enough.
        runtime.predecessor.terminate()
    takeover = runtime.takeover = Takeover(runtime, order, called=called, caller=caller)
    runtime.nursery.start_soon(_perform, runtime, takeover)
    return takeover


async def _perform(runtime: Runtime, takeover: Takeover) -> None:
    await takeover.run()
    if takeover.returned:
        runtime.takeover = None
    else:
        runtime.depart(takeover.successor)
    takeover.ended.set()


def _tell_refusal(runtime: Runtime, refused: Refused) -> None:
    runtime.tally.takeovers["refused"] += 1
    runtime.log.warning("takeover.refused", code=refused.code.value, detail=refused.detail)
    runtime.events.publish("takeover.refused", code=refused.code.value, detail=refused.detail)


# A new process that comes by itself.


async def serve_calls(runtime: Runtime) -> None:
    """Wait in the state directory for processes that want to take over, until cancelled."""
    while True:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_serve_path, runtime, runtime.premises.directory)
            await runtime.premises.wait_remade()
            nursery.cancel_scope.cancel()


async def _serve_path(runtime: Runtime, directory: Path) -> None:
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


async def succeed(runtime: Runtime, old: socket.socket) -> None:
    """Take over from the process at the other end, and serve.

    Raises:
        ConfigError: the state directory cannot be had; nothing was changed.
        CouldNotTakeOver: it did not come to that; nothing was changed.
    """
    runtime.manager.silent = True
    runtime.log.info("proxy.succeeding", version=program_version(), pid=os.getpid(), config=str(runtime.config_path))
    await runtime.premises.enter(runtime.log, shared=True)
    try:
        await runtime.nursery.start(_follow_old, runtime, old, os.pidfd_open(peer_of(old).pid))
    except OSError as error:
        raise CouldNotTakeOver(f"{error.strerror or error}") from error
    runtime.nursery.start_soon(_serve_calls_later, runtime)


async def _serve_calls_later(runtime: Runtime) -> None:
    await runtime.settled.wait()
    await serve_calls(runtime)


async def _follow_old(
    runtime: Runtime,
    old: socket.socket,
    pidfd: int,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    try:
        await Succession(runtime, old, old_pidfd=pidfd).run(task_status=task_status)
    finally:
        trio.lowlevel.notify_closing(pidfd)
        os.close(pidfd)
