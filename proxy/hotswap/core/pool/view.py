"""What control has decided about a pool, whole, at one moment: the only thing about it that a data plane is told.

A view is complete in itself. Whoever gets one needs none of those before it, and an older one that comes late is
ignored; so nothing is ever out of step for longer than one view takes.
"""

from __future__ import annotations

from dataclasses import dataclass

from hotswap.core.address import Address
from hotswap.core.http.sendfile import SendfileRoots
from hotswap.core.identity import BackendId
from hotswap.core.pool.lifecycle import BackendState
from hotswap.core.pool.pause_answer import PauseAnswer
from hotswap.core.strategy import Balance


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendView:
    """One backend in a view.

    Attributes:
        id: unique in this proxy process, never used twice.
        slot: the slot it fills, from 0.
        generation: number of the rollout that started it; 1 at boot.
        address: where it is connected to.
        h2c: it is spoken to in HTTP/2, with prior knowledge.
        state: what it is for at the moment.
        claimable: ready and healthy, so that exchanges may be claimed for it.
        ejected: others are preferred to it; see `hotswap.core.pool.ejection`.
        sendfile: the directories whose files it may have answered.
    """

    id: BackendId
    slot: int
    generation: int
    address: Address
    h2c: bool
    state: BackendState
    claimable: bool
    ejected: bool
    sendfile: SendfileRoots = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolView:
    """A pool in one version.

    Attributes:
        pool: its name.
        version: grows with every change; the greatest wins.
        supervised: we run its processes.
        balance: how a backend is chosen.
        max_in_flight: exchanges one backend may have at once; 0 is unlimited.
        paused: nothing may be claimed.
        answer: what requests get while it is paused; None: they are held.
        expecting: a backend that can be claimed is there or is coming, so that it makes sense to wait.
        backends: all of them, in the order they were added.
        directories: of the releases whose files are answered: those that serve, newest first, and the two before.
    """

    pool: str
    version: int
    supervised: bool
    balance: Balance
    max_in_flight: int
    paused: bool
    expecting: bool
    backends: tuple[BackendView, ...]
    directories: tuple[str, ...] = ()
    answer: PauseAnswer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """The answer to a view: it is in force, and what it forbids will not be claimed any more.

    Attributes:
        version: the one in force, which is greater than that of the view if a later one came first.
        in_flight: exchanges by backend at that moment.
    """

    version: int
    in_flight: dict[BackendId, int]
