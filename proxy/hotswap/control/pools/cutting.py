"""The end of patience: what is still in flight for a backend is ended by force, and named while that is done."""

from __future__ import annotations

from collections.abc import Sequence

from structlog.typing import FilteringBoundLogger

from hotswap.control.pools.surroundings import Plane
from hotswap.control.telemetry.events import EventLog
from hotswap.core.backend import Backend
from hotswap.core.exchange_view import SHOWN, ExchangeView, tell_exchanges


def cut_exchanges(
    backend: Backend, plane: Plane, log: FilteringBoundLogger, events: EventLog | None = None, *, event: str
) -> tuple[int, Sequence[ExchangeView]]:
    """Cut what is in flight for a backend, and say in log and events what it was.

    Args:
        backend: the backend.
        plane: where its exchanges are.
        log: bound to the backend.
        events: where it is published; None: nowhere.
        event: what it is called in both, such as `backend.drain_timed_out`.

    Returns:
        How many were cut, and the oldest of them.
    """
    views = plane.exchanges_in(backend)
    cut = plane.cut(backend)
    if not cut:
        return 0, ()
    told = tell_exchanges(views)
    log.warning(event, cut=cut, exchanges=told)
    if events is not None:
        events.publish(
            event,
            pool=backend.pool,
            slot=backend.slot,
            generation=backend.generation,
            backend=backend.id,
            cut=cut,
            exchanges=told,
        )
    return cut, tuple(views[:SHOWN])
