"""One backend as the data plane sees it: what the last view said of it, and what is claimed for it."""

from __future__ import annotations

from dataclasses import dataclass

from hotswap.core.address import Address
from hotswap.core.http.sendfile import SendfileRoots
from hotswap.core.identity import BackendId
from hotswap.core.pool.lifecycle import BackendState


# Not frozen, and compared by identity: `in_flight` changes twice for each exchange, and a copy for each change would
# cost more than the choice itself. Only the `Claims` it belongs to write to it.
@dataclass(slots=True, kw_only=True, eq=False)
class Candidate:
    """A backend that claims are made for.

    Attributes:
        id, slot, generation, address, h2c, state, sendfile: as in `BackendView`.
        pool: the name of its pool.
        claimable: ready and healthy; a claim also needs room, and a pool that is not paused.
        ejected: others are preferred to it.
        in_flight: exchanges claimed for it and not yet released.
        max_in_flight: how many it may have at once; 0 is unlimited.
        served: exchanges claimed for it so far.
    """

    id: BackendId
    pool: str
    slot: int
    generation: int
    address: Address
    h2c: bool
    state: BackendState
    sendfile: SendfileRoots = ()
    claimable: bool = False
    ejected: bool = False
    in_flight: int = 0
    max_in_flight: int = 0
    served: int = 0
