"""The process as a whole: brought up, run, and ended in order.

The order of the boot is in `hotswap.control.process.boot`. The order of the end is the reverse: stop accepting, let
exchanges end, stop the backends, and the admin API last.
"""

from __future__ import annotations

import socket
from functools import partial
from pathlib import Path

import trio

from hotswap.control.process.boot import boot
from hotswap.control.process.orders import Orders
from hotswap.control.process.parts import Parts
from hotswap.control.process.signals import HANDLED, serve_signals
from hotswap.control.takeover.order import CouldNotTakeOver
from hotswap.control.takeover.takeovers import Takeovers
from hotswap.control.telemetry.lines import LineWriter
from hotswap.core.config import Configuration
from hotswap.core.errors import ConfigError, ProxyError
from hotswap.core.process.phases import Phase, PhaseEvent
from hotswap.processes.children import end_orphans

PREDECESSOR_GRACE = 2.0
"""Seconds beyond its own time for a graceful stop that a process before this one is waited for."""


class Runtime:
    """A running proxy: its parts, the takeovers that it has a part in, and the orders that it takes."""

    def __init__(
        self, config_path: Path, config: Configuration, *, access: LineWriter | None, old: socket.socket | None = None
    ) -> None:
        """Make it, inside trio; `old` is connected to the process to take over from. Nothing runs before `serve`."""
        phase = Phase.STARTING if old is None else Phase.SUCCEEDING
        self.parts = Parts(config_path, config, access=access, phase=phase)
        self.takeovers = Takeovers(self.parts)
        self.orders = Orders(self.parts, self.takeovers)
        self._old = old

    async def serve(self) -> None:
        """Run until it is stopped.

        Raises:
            ConfigError: it cannot start with this configuration.
            CouldNotTakeOver: it was to take over, and that did not come about.

        **Cancellation** ends everything at once; backends are killed.
        """
        parts, life = self.parts, self.parts.life
        failure: ProxyError | None = None
        with trio.open_signal_receiver(*HANDLED) as signals:
            async with trio.open_nursery() as nursery:
                parts.nursery = nursery
                nursery.start_soon(serve_signals, signals, self.orders, parts.log)
                try:
                    with life.start_scope:
                        await self._start()
                        await life.leaving.wait()
                except (ConfigError, CouldNotTakeOver) as error:
                    failure = error
                    life.note(PhaseEvent.START_FAILED)
                else:
                    with life.end_scope:
                        await self._end()
                    life.note(PhaseEvent.ENDED)
                nursery.cancel_scope.cancel()
        if hasattr(parts, "listeners"):
            parts.listeners.close_given()
        parts.premises.leave()
        if failure is not None:
            raise failure

    async def _start(self) -> None:
        if self._old is None:
            await boot(self.parts, self.orders)
        else:
            await self.takeovers.succeed(self._old, self.orders)
        self.parts.nursery.start_soon(self.takeovers.serve_calls)

    async def _in_flight(self) -> dict[str, object]:
        """Give what a stop waits for: how many exchanges are in flight, and the oldest in words."""
        parts = self.parts
        flying = sum(parts.link.in_flight(backend) for backend in parts.pools.backends())
        if not flying:
            return {"in_flight": 0}
        views = [view for backend in parts.pools.backends() for view in await parts.link.exchanges_in(backend)]
        oldest = max(views, key=lambda view: view.age, default=None)
        told = (
            {} if oldest is None else {"oldest": f"{oldest.request_line} from {oldest.client}, {oldest.age:.1f} s old"}
        )
        return {"in_flight": flying, **told}

    async def _end(self) -> None:
        parts, life = self.parts, self.parts.life
        if self.takeovers.current is not None:
            self.takeovers.current.ask_stop()
            await self.takeovers.current.ended.wait()
        if life.phase in (Phase.DEPARTED, Phase.STOPPING_DEPARTING):
            # Clients were cut in the end; what is left of the backends that stayed ours needs a moment more.
            await parts.pools.wait_own_ended()
            parts.log.info("proxy.departed", detail="another process has everything")
            return
        if life.on_trial:
            parts.predecessor.say_stopping()
            await life.settled.wait()
        parts.predecessor.hurry()
        timeout = parts.config.proxy.shutdown_timeout
        parts.log.info("proxy.stopping", shutdown_timeout=timeout, **await self._in_flight())
        parts.events.publish("proxy.stopping")
        parts.manager.stopping()
        life.changed.set()
        for run in parts.book.unfinished():
            run.abort("shutting-down")
        async with trio.open_nursery() as nursery:
            # It may be what serves yet, and a service manager ends it with this process.
            patience = timeout + parts.pools.longest_stop_timeout() + PREDECESSOR_GRACE
            nursery.start_soon(partial(parts.predecessor.wait_gone, timeout=patience))
            await parts.plane.drain_downstream(timeout=timeout)
        with trio.move_on_after(parts.pools.longest_stop_timeout()):
            for run in parts.book.unfinished():
                await run.ended.wait()
        await parts.pools.stop_all()
        await end_orphans(parts.log)
        parts.log.info("proxy.stopped")
