"""Name cache of static pools: host names are looked up off the loop, and again in time.

The C library's resolver can only be asked by waiting for it, so it is asked in a thread, one for a name at a time. Who
connects takes what is known, at once: a resolver that hangs delays nobody who has connected before. A name is looked up
anew when what is known is older than `REFRESH` seconds, and after nothing that is known could be connected to. What
was found stays good until something else is found, because a resolver fails more often than an address moves.

All addresses of a name, of both families, are one backend. The one that was last connected to, by a health check or by
an exchange, comes first, so that both use the same.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import trio

from hotswap.core.errors import AddressUnknown, ConnectFailed
from hotswap.edge.loop.endpoint import Endpoint

REFRESH: Final = 60.0
"""Seconds for which what was found is not asked for again."""
PAUSE: Final = 1.0
"""Seconds between two lookups of one name, whatever fails."""
LOOKUP_TIMEOUT: Final = 5.0
"""Seconds after which a name that is being looked up for the first time counts as one that has no address; a late
answer is taken all the same."""
THREADS: Final = 32
"""Lookups at a time; names of a resolver that hangs wait for each other beyond that."""


async def look_up(host: str, port: int, limiter: trio.CapacityLimiter | None = None) -> tuple[Endpoint, ...]:
    """Resolve a name to its addresses, in the order in which the system prefers them.

    Args:
        host: the name.
        port: of the endpoints.
        limiter: bounds the threads; None: that of all threads of the process.

    Raises:
        OSError: there are none, or nobody could be asked (`socket.gaierror`).

    **Cancellation**: the thread goes on, and what it finds is dropped.
    """
    found = await trio.to_thread.run_sync(
        lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP),
        abandon_on_cancel=True,
        limiter=limiter,
    )
    return tuple(dict.fromkeys(Endpoint(family, address) for family, _, _, _, address in found))


class Name:
    """A host name with a port, and its known addresses.

    Attributes:
        endpoints: what was found last, the one that was last connected to first; empty before.
        error: why the last lookup found nothing; empty when it found something.
    """

    __slots__ = ("_done", "_due", "_names", "_since", "endpoints", "error", "host", "port")

    def __init__(self, names: Names, host: str, port: int) -> None:
        self._names = names
        self.host = host
        self.port = port
        self.endpoints: tuple[Endpoint, ...] = ()
        self.error = ""
        self._due = -math.inf  # when it is to be looked up next
        self._since = 0.0  # when the lookup under way began
        self._done: trio.Event | None = None  # set at its end

    def take(self) -> tuple[Endpoint, ...]:
        """The known addresses; starts a lookup when they are due for a refresh.

        Raises:
            AddressUnknown: it is still being looked up.
            ConnectFailed: it has no address, or nobody says it.
        """
        self._refresh()
        if self.endpoints:
            return self.endpoints
        if self.error:
            raise ConnectFailed(f"{self.host}: {self.error}")
        if self._names.clock() - self._since >= LOOKUP_TIMEOUT:
            raise ConnectFailed(f"{self.host}: the resolver did not answer in {LOOKUP_TIMEOUT:g} s")
        raise AddressUnknown(f"{self.host} is still being looked up")

    async def wait(self) -> tuple[Endpoint, ...]:
        """As `take`, but waits for a lookup under way if nothing is known yet; the caller has the deadline.

        Raises:
            ConnectFailed: it has no address, or nobody says it.

        **Cancellation**: the lookup goes on.
        """
        self._refresh()
        while not self.endpoints and self._done is not None:
            await self._done.wait()
        return self.take()

    def prefer(self, endpoint: Endpoint) -> None:
        """Put an address first that could be connected to."""
        known = self.endpoints
        if known and known[0] != endpoint and endpoint in known:
            self.endpoints = (endpoint, *(other for other in known if other != endpoint))

    def doubt(self) -> None:
        """Ask for a new lookup soon: no address could be connected to."""
        self._due = min(self._due, self._names.clock() + PAUSE)

    def _refresh(self) -> None:
        now = self._names.clock()
        if self._done is None and now >= self._due:
            self._since = now
            self._done = trio.Event()
            self._names.begin(self)

    async def look_up(self) -> None:
        """Look the name up once; never raises. **Cancellation**: nothing is found, and it may be asked for again."""
        found: tuple[Endpoint, ...] = ()
        error = "the lookup was broken off"
        try:
            found = await self._names.ask(self.host, self.port)
            error = "" if found else "no address"
        except OSError as failure:
            error = failure.strerror or type(failure).__name__
        except Exception as failure:  # such as a name that cannot be encoded
            error = type(failure).__name__
        finally:
            self.error = error
            self._due = self._names.clock() + (PAUSE if error else REFRESH)
            if found:
                preferred = self.endpoints[:1]
                self.endpoints = found
                if preferred:
                    self.prefer(preferred[0])
            done, self._done = self._done, None
            if done is not None:
                done.set()


class Names:
    """All host names of backends.

    Args:
        clock: seconds, of any beginning.
        ask: asks the system for all endpoints of a name, as `look_up` does, with threads of its own, so that a resolver
            that hangs takes none from others.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        ask: Callable[[str, int], Awaitable[tuple[Endpoint, ...]]] | None = None,
    ) -> None:
        self.clock = clock
        self.ask = ask or partial(look_up, limiter=trio.CapacityLimiter(THREADS))
        self._names: dict[tuple[str, int], Name] = {}
        self._nursery: trio.Nursery | None = None
        self._waiting: list[Name] = []  # asked for before `serve`

    def name(self, host: str, port: int) -> Name:
        """The entry of a name; starts no lookup."""
        name = self._names.get((host, port))
        if name is None:
            name = self._names[host, port] = Name(self, host, port)
        return name

    def begin(self, name: Name) -> None:
        """Start the lookup of a name."""
        if self._nursery is None:
            self._waiting.append(name)
        else:
            self._nursery.start_soon(name.look_up)

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run lookups until cancelled."""
        try:
            async with trio.open_nursery() as self._nursery:
                while self._waiting:
                    self.begin(self._waiting.pop())
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None
