"""A backend as control sees it: what it is, and what was decided about it."""

from __future__ import annotations

from dataclasses import dataclass

from hotswap.core.address import Address
from hotswap.core.http.sendfile import SendfileRoots
from hotswap.core.identity import BackendId
from hotswap.core.pool.lifecycle import BackendState, Health


# Not frozen, and compared by identity: it is one thing that changes. Only the pool it belongs to writes to it; what is
# in flight for it is counted elsewhere (`hotswap.core.pool.candidate`).
@dataclass(slots=True, kw_only=True, eq=False)
class Backend:
    """What fills a slot: one process of a supervised pool, or one address of a static one.

    Attributes:
        id: unique in this proxy process, never used twice.
        pool: the name of its pool.
        slot: the slot it fills, from 0.
        generation: number of the rollout that started it; 1 at boot.
        address: where it is connected to.
        h2c: it is spoken to in HTTP/2, with prior knowledge, by the definition that it was added under.
        state: what it is for at the moment; changed by `Pool.move`.
        health: what the probes found; changed by `Pool.set_health`.
        claimable: ready and healthy, kept true to that by the pool; a claim also needs room, and a pool that
            is not paused.
        ejected: it failed so many exchanges in a row that others are preferred for a while; see
            `hotswap.core.pool.ejection`. It stays claimable, for when there is no other.
        pid: its process, if it is one of ours.
        directory: that of its release, symbolic links resolved; empty where it has none that is known.
        sendfile: the directories whose files it may have answered, by the definition that it was started with.
        since: the moment of the last change of state, on the caller's clock, in seconds.
    """

    id: BackendId
    pool: str
    slot: int
    generation: int
    address: Address
    state: BackendState
    health: Health
    h2c: bool = False
    claimable: bool = False
    ejected: bool = False
    pid: int | None = None
    directory: str = ""
    sendfile: SendfileRoots = ()
    since: float = 0.0
