"""What is in flight in backends that are on their way out, as the data plane last told it.

A view of the state takes what is in here, and whoever wants it fresh waits for a look first, as with
`hotswap.control.telemetry.facts`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from hotswap.core.http.exchange_view import ExchangeView
from hotswap.core.identity import BackendId
from hotswap.core.pool.backend import Backend
from hotswap.core.pool.lifecycle import BackendState

LEAVING = frozenset({BackendState.DRAINING, BackendState.STOPPING})


class DrainsBook:
    """The last look at the exchanges of draining and stopping backends.

    Args:
        backends: gives the backends that there are.
        ask: asks the data plane what is in flight in one.
    """

    def __init__(
        self,
        backends: Callable[[], Iterable[Backend]],
        ask: Callable[[Backend], Awaitable[Sequence[ExchangeView]]],
    ) -> None:
        self._backends = backends
        self._ask = ask
        self._exchanges: Mapping[BackendId, Sequence[ExchangeView]] = {}

    def of(self, backend: Backend) -> Sequence[ExchangeView]:
        """Give what a backend waited for at the last look, the oldest first."""
        return self._exchanges.get(backend.id, ()) if backend.state in LEAVING else ()

    async def look(self) -> None:
        """Ask anew."""
        leaving = [backend for backend in self._backends() if backend.state in LEAVING]
        self._exchanges = {backend.id: await self._ask(backend) for backend in leaving}
