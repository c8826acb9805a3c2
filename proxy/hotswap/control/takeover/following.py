"""Serving clients through backends that another process owns: the rest of the life of a proxy that was replaced.

The process that took over says which backends come and go, and asks before it ends one. Here they are used as
before, watched because this process may be their parent, and nothing else is done to them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import trio

from hotswap.control.pools.supervised_backend import SupervisedBackend
from hotswap.control.pools.supervised_pool import SupervisedPool
from hotswap.control.takeover.predecessor import Order
from hotswap.core.address import parse_address
from hotswap.processes.supervisor import Exit
from hotswap.wire.handover import Frame, FrameType, HandoverBroken

if TYPE_CHECKING:
    from hotswap.control.runtime import Runtime

LONGEST_RELEASE = 3600.0


class Following:
    """What follows from not owning the backends.

    Attributes:
        active: they belong to another process.
    """

    def __init__(self, runtime: Runtime, tell: Callable[[FrameType, Mapping[str, Any]], object]) -> None:
        """Make it; nothing changes before `begin`.

        Args:
            runtime: the proxy.
            tell: sends a frame to the process that took over.
        """
        self.active = False
        self._runtime = runtime
        self._tell = tell

    def begin(self, going: Sequence[SupervisedBackend]) -> None:
        """Take our hands off the backends that go, in one step; the others are ended by us."""
        runtime = self._runtime
        runtime.guardian.share()
        for pool in self._pools():
            pool.handover.on_exit = self._note_exit
            pool.handover.begin(going)
        runtime.events.silent = True
        self.active = True

    def end(self) -> None:
        """Look after them again: the other process is gone."""
        self.active = False
        runtime = self._runtime
        runtime.events.silent = False
        runtime.guardian.reclaim()
        for pool in self._pools():
            pool.handover.on_exit = None
            pool.handover.take_back()

    def hear(self, frame: Frame, start: Callable[..., None]) -> None:
        """Follow a change that the process which took over has made, or asks for.

        Args:
            frame: what it says.
            start: starts a task of the takeover, given a function and its arguments.

        Raises:
            HandoverBroken: the frame cannot be understood.
        """
        runtime = self._runtime
        match frame.type:
            case FrameType.BACKEND_ADDED:
                pool = runtime.pools.get(frame.text("pool"))
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
                    )
                runtime.predecessor.pass_on(frame)
            case FrameType.BACKEND_GONE:
                for one in self._pools():
                    one.handover.follow_gone(frame.number("pid"))
                runtime.predecessor.pass_on(frame)
            case FrameType.ORDER:
                self._obey(frame.text("order"), frame.text("pool"))
                runtime.predecessor.pass_on(frame)
            case _:
                timeout = frame.body.get("timeout")
                seconds = float(timeout) if isinstance(timeout, int | float) else 0.0
                start(self._release, frame.number("pid"), min(max(seconds, 0.0), LONGEST_RELEASE))

    def _obey(self, order: str, name: str) -> None:
        runtime = self._runtime
        pool = runtime.pools.get(name)
        match order:
            case Order.REOPEN:
                runtime.reopen_logs()
            case Order.LEAVE:
                runtime.plane.drain_connections()
            case Order.PAUSE if pool is not None:
                pool.entries.pause()
            case Order.RESUME if pool is not None:
                pool.entries.resume()

    async def _release(self, pid: int, timeout: float) -> None:
        for pool in self._pools():
            await pool.handover.follow_release(pid, deadline=trio.current_time() + timeout)
        self._say(FrameType.BACKEND_RELEASED, {"pid": pid})

    def _note_exit(self, pid: int, ended: Exit) -> None:
        if self.active:
            self._say(FrameType.BACKEND_EXIT, {"pid": pid, "code": ended.code, "signal": ended.signal})

    def _say(self, kind: FrameType, body: Mapping[str, Any]) -> None:
        try:
            self._tell(kind, body)
        except HandoverBroken as error:
            self._runtime.log.warning("takeover.not_told", frame=kind.value, detail=error.detail)

    def _pools(self) -> list[SupervisedPool]:
        return [pool for pool in self._runtime.pools.values() if isinstance(pool, SupervisedPool)]
