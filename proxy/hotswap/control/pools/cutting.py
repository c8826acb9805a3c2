"""Exchanges that were cut because a backend's time was over: they are named in log and events."""

from __future__ import annotations

from collections.abc import Sequence

from structlog.typing import FilteringBoundLogger

from hotswap.control.events import EventLog
from hotswap.control.pools.surroundings import Plane
from hotswap.core.backend import Backend
from hotswap.core.exchange_view import SHOWN, ExchangeView, tell_exchanges
from hotswap.core.pool import Released


def cut_exchanges(
    backend: Backend, plane: Plane, log: FilteringBoundLogger, events: EventLog | None = None, *, event: str
) -> tuple[int, Sequence[ExchangeView]]:
    """Cut what is in flight for a backend, and say what it was; see `tell_cut`.

    Returns:
        How many were cut, and the oldest of them.
    """
    views = plane.exchanges_in(backend)
    return tell_cut(backend, Released(cut=plane.cut(backend), exchanges=tuple(views)), log, events, event=event)


def tell_cut(
    backend: Backend, released: Released, log: FilteringBoundLogger, events: EventLog | None = None, *, event: str
) -> tuple[int, Sequence[ExchangeView]]:
    """Say in log and events what was cut; nothing when nothing was.

    Args:
        backend: the backend.
        released: what was cut.
        log: bound to the backend.
        events: where it is published; None: nowhere.
        event: what it is called in both, such as `backend.drain_timed_out`.

    Returns:
        How many were cut, and the oldest of them.
    """
    if not released.cut:
        return 0, ()
    told = tell_exchanges(released.exchanges)
    log.warning(event, cut=released.cut, exchanges=told)
    if events is not None:
        events.publish(
            event,
            pool=backend.pool,
            slot=backend.slot,
            generation=backend.generation,
            backend=backend.id,
            cut=released.cut,
            exchanges=told,
        )
    return released.cut, released.exchanges[:SHOWN]
