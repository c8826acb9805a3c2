"""Takeovers as verbs of the proxy: asked for by an operator, or by a new process that comes by itself."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

import trio

from hotswap.control.process.parts import Parts
from hotswap.control.process.verbs import Verbs
from hotswap.control.takeover.channel import PATH_NAME, Channel, connect_to, listen_on, peer_of
from hotswap.control.takeover.order import CouldNotTakeOver, TakeoverFailed, TakeoverOrder, TakeoverResult
from hotswap.control.takeover.succession import Succession
from hotswap.control.takeover.takeover import Takeover
from hotswap.control.telemetry.version import PROGRAM_VERSION
from hotswap.core.errors import RefusalCode, Refused
from hotswap.core.process.answers import Verb, refuse
from hotswap.core.process.phases import Phase, PhaseEvent
from hotswap.core.rollout.refusal import rollout_in_progress
from hotswap.processes.listening import remove_own
from hotswap.wire.handover import FrameType, HandoverBroken


class Takeovers:
    """The takeovers that this process has a part in.

    Attributes:
        current: the takeover by which this process is replaced, while there is one.
    """

    def __init__(self, parts: Parts) -> None:
        self.current: Takeover | None = None
        self._parts = parts

    async def start(self, order: TakeoverOrder) -> TakeoverResult:
        """Do as `Verbs.start_takeover` says."""
        refused = self.refusal()
        if refused is not None:
            parts = self._parts
            parts.tally.takeovers["refused"] += 1
            parts.log.warning("takeover.refused", code=refused.code.value, detail=refused.detail)
            parts.events.publish("takeover.refused", code=refused.code.value, detail=refused.detail)
            raise refused
        takeover = self._begin(order)
        await takeover.reported.wait()
        if takeover.result.refused is not None:
            raise takeover.result.refused
        if not takeover.result.done:
            raise TakeoverFailed(takeover.result)
        return takeover.result

    def refusal(self) -> Refused | None:
        """Tell why a takeover cannot begin now, in the order of the contract; None when it can."""
        parts = self._parts
        state: dict[str, object] = {"pid": os.getpid(), "generation": parts.life.incarnation}
        refused = refuse(parts.life.phase, Verb.TAKEOVER, state)
        if refused is not None and refused.code is not RefusalCode.NOT_READY:
            return refused
        for pool in parts.pools.supervised():
            if pool.rollout_id is not None:
                return Refused(
                    RefusalCode.ROLLOUT_IN_PROGRESS,
                    rollout_in_progress(pool.name, pool.rollout_id),
                    {**state, "pool": pool.name, "rollout": pool.rollout_id},
                )
        if parts.pools.proving:
            detail = "pools that are new in the configuration are being started"
            return Refused(RefusalCode.ROLLOUT_IN_PROGRESS, detail, state)
        if refused is not None and parts.life.phase is Phase.BOOTING and (down := parts.pools.not_ready()):
            detail = f"{refused.detail}: nothing serves yet in pool {', '.join(down)}; once repaired: hotswap reload"
            return Refused(refused.code, detail, state)
        return refused

    def _begin(self, order: TakeoverOrder, *, called: socket.socket | None = None, caller: int = -1) -> Takeover:
        """Begin a takeover that nothing is said against."""
        parts = self._parts
        if parts.predecessor.depth >= 2:
            # Two generations of clients that take their time are enough.
            parts.predecessor.terminate()
        takeover = self.current = Takeover(parts, order, called=called, caller=caller)
        parts.life.note(PhaseEvent.TAKEOVER_BEGUN)
        for pool in parts.pools.supervised():
            pool.recycler.hold()
        parts.nursery.start_soon(self._perform, takeover)
        return takeover

    async def _perform(self, takeover: Takeover) -> None:
        await takeover.run()
        if takeover.returned:
            self.current = None
            self._parts.life.note(PhaseEvent.TAKEOVER_RETURNED)
            for pool in self._parts.pools.supervised():
                pool.recycler.held = False
        else:
            self._parts.life.successor = takeover.successor
            self._parts.life.note(PhaseEvent.TAKEOVER_ENDED)
        takeover.ended.set()

    # A new process that comes by itself.

    async def serve_calls(self) -> None:
        """Wait in the state directory for processes that want to take over, once all is ours, until cancelled."""
        await self._parts.life.settled.wait()
        premises = self._parts.premises
        premises.sign()
        while True:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._serve_path, premises.directory)
                await premises.wait_remade()
                nursery.cancel_scope.cancel()

    async def _serve_path(self, directory: Path) -> None:
        try:
            waiting = listen_on(directory / PATH_NAME)
        except OSError as error:
            self._parts.log.warning("takeover.no_path", path=str(directory / PATH_NAME), detail=error.strerror)
            return
        made = os.stat(directory / PATH_NAME)
        self._parts.premises.paths.add(directory / PATH_NAME)
        try:
            while True:
                await trio.lowlevel.wait_readable(waiting)
                try:
                    called, _ = waiting.accept()
                except OSError:
                    continue
                self._answer(called)
        finally:
            self._parts.premises.paths.discard(directory / PATH_NAME)
            trio.lowlevel.notify_closing(waiting)
            waiting.close()
            remove_own(directory / PATH_NAME, made)

    def _answer(self, called: socket.socket) -> None:
        peer = peer_of(called)
        refused = self.refusal()
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
            self._parts.log.warning("takeover.refused", pid=peer.pid, detail=reason)
            channel = Channel(called)
            with suppress(HandoverBroken):
                channel.send(FrameType.REFUSE, {"reason": reason})
            channel.close()
            return
        self._begin(TakeoverOrder(trigger=f"process {peer.pid}"), called=called, caller=pidfd)

    # The process that takes over.

    async def succeed(self, old: socket.socket, verbs: Verbs) -> None:
        """Take over from the process at the other end of a socket, and serve.

        Raises:
            ConfigError: the state directory cannot be had; nothing was changed.
            CouldNotTakeOver: it did not come to that; nothing was changed.
        """
        parts = self._parts
        parts.manager.silent = True
        parts.log.info("proxy.succeeding", version=PROGRAM_VERSION, pid=os.getpid(), config=str(parts.config_path))
        await parts.premises.enter(parts.log, shared=True)
        try:
            await parts.nursery.start(Succession(parts, verbs, old).run)
        except OSError as error:
            raise CouldNotTakeOver(f"{error.strerror or error}") from error


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
