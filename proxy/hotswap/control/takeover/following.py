"""Serving clients through backends that another process owns: the rest of the life of a proxy that was replaced.

The process that took over says which backends come and go, and asks before it ends one. Here they are used as
before, watched because this process may be their parent, and nothing else is done to them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import trio

from hotswap.control.pools.supervised_backend import SupervisedBackend
from hotswap.control.pools.supervised_pool import SupervisedPool
from hotswap.control.process.parts import Parts
from hotswap.control.takeover.predecessor import Order
from hotswap.core.address import parse_address
from hotswap.core.pool.pause_answer import PauseAnswer, read_pause_answer
from hotswap.processes.exit_status import Exit
from hotswap.wire.handover import Frame, FrameType, HandoverBroken

LONGEST_RELEASE = 3600.0


class Following:
    """What follows from not owning the backends.

    Attributes:
        active: they belong to another process.
    """

    def __init__(self, parts: Parts, tell: Callable[[FrameType, Mapping[str, Any]], object]) -> None:
        """Make it, with what sends a frame to the process that took over; nothing changes before `begin`."""
        self.active = False
        self._parts = parts
        self._tell = tell

    def begin(self, going: Sequence[SupervisedBackend]) -> None:
        """Take our hands off the backends that go, in one step; the others are ended by us."""
        parts = self._parts
        parts.guardian.share()
        for pool in parts.pools.supervised():
            pool.handover.on_exit = self._note_exit
            pool.handover.begin(going)
        parts.events.silent = True
        self.active = True

    def end(self) -> None:
        """Look after them again: the other process is gone."""
        self.active = False
        parts = self._parts
        parts.events.silent = False
        parts.guardian.reclaim()
        for pool in parts.pools.supervised():
            pool.handover.on_exit = None
            pool.handover.take_back()

    def hear(self, frame: Frame, start: Callable[..., None]) -> None:
        """Follow a change that the process which took over has made, or asks for; `start` starts a task of ours.

        Raises:
            HandoverBroken: the frame cannot be understood.
        """
        parts = self._parts
        match frame.type:
            case FrameType.BACKEND_ADDED:
                pool = parts.pools.get(frame.text("pool"))
                if isinstance(pool, SupervisedPool):
                    try:
                        address = parse_address(frame.text("address"))
                    except ValueError as error:
                        raise HandoverBroken(f"a backend has the address {frame.text('address')!r}") from error
                    pool.handover.follow_added(
                        slot=frame.number("slot"),
                        generation=frame.number("generation"),
                        address=address,
                        pid=frame.number("pid"),
                        h2c=pool.table.h2c,
                        # Older code does not say it.
                        sendfile=pool.table.sendfile_roots,
                        directory=str(frame.body.get("directory", "")),
                    )
                parts.predecessor.pass_on(frame)
            case FrameType.BACKEND_GONE:
                for one in parts.pools.supervised():
                    one.handover.follow_gone(frame.number("pid"))
                parts.predecessor.pass_on(frame)
            case FrameType.ORDER:
                try:
                    answer = read_pause_answer(frame.body.get("answer"))
                except ValueError as error:
                    raise HandoverBroken(str(error)) from error
                self._obey(frame.text("order"), frame.text("pool"), answer)
                parts.predecessor.pass_on(frame)
            case _:
                timeout = frame.body.get("timeout")
                seconds = float(timeout) if isinstance(timeout, int | float) else 0.0
                start(self._release, frame.number("pid"), min(max(seconds, 0.0), LONGEST_RELEASE))

    def _obey(self, order: str, name: str, answer: PauseAnswer | None) -> None:
        parts = self._parts
        pool = parts.pools.get(name)
        match order:
            case Order.REOPEN:
                if parts.access is not None:
                    parts.access.reopen()
            case Order.LEAVE:
                parts.plane.drain_connections()
            case Order.PAUSE if pool is not None:
                pool.entries.pause(answer)
            case Order.RESUME if pool is not None:
                pool.entries.resume()

    async def _release(self, pid: int, timeout: float) -> None:
        deadline = trio.current_time() + timeout
        known = [await pool.handover.follow_release(pid, deadline=deadline) for pool in self._parts.pools.supervised()]
        if not any(known):
            # Of no pool of ours, but perhaps of one that the process before this one still has.
            await self._parts.predecessor.release_process(pid, deadline=deadline)
        self._say(FrameType.BACKEND_RELEASED, {"pid": pid})

    def _note_exit(self, pid: int, ended: Exit) -> None:
        if self.active:
            self._say(FrameType.BACKEND_EXIT, {"pid": pid, "code": ended.code, "signal": ended.signal})

    def _say(self, kind: FrameType, body: Mapping[str, Any]) -> None:
        try:
            self._tell(kind, body)
        except HandoverBroken as error:
            self._parts.log.warning("takeover.not_told", frame=kind.value, detail=error.detail)
