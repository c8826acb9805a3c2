"""The release that a pool would be rolled to, read before anything is decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import trio

from hotswap.control.pools.compatibility import read_compatibility
from hotswap.control.pools.release import Release, read_release
from hotswap.control.pools.surroundings import Surroundings
from hotswap.core.config import SupervisedPoolTable
from hotswap.core.errors import ConfigError, Problem
from hotswap.core.rollout.compatibility import Compatibility


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a pool would be rolled to.

    Attributes:
        table: its definition.
        release: what its backends would be started from; None when that cannot be found out.
        compatibility: the number of that release.
        problems: what is wrong with it.
    """

    table: SupervisedPoolTable
    release: Release | None
    compatibility: Compatibility | None
    problems: tuple[Problem, ...] = ()


async def read_offer(
    name: str, table: SupervisedPoolTable, around: Surroundings, problems: tuple[Problem, ...] = ()
) -> Offer:
    """Read what a pool would be rolled to; what is wrong with it is a part of the offer, and nothing is raised.

    Problems that are known already are those of the file, which then does not define the pool: what is wrong with the
    definition that it has is not told beside them.

    **Cancellation**: a file or command that is still being read is left to its own deadline.
    """
    environment, guardian = around.environment, around.guardian
    try:
        release = await read_release(name, table, environment=environment, guardian=guardian)
    except ConfigError as error:
        # The refusals about the number come before those about the rest, so it is looked for all the same.
        number = await read_compatibility(
            table.compatibility, directory=table.directory, environment=environment, guardian=guardian
        )
        return Offer(table=table, release=None, compatibility=number, problems=problems or error.problems)
    return Offer(table=table, release=release, compatibility=release.compatibility, problems=problems)


async def read_offers(tables: Mapping[str, SupervisedPoolTable], around: Surroundings) -> dict[str, Offer]:
    """Read those of several pools, all at the same time: one that does not answer holds up no other."""
    offers: dict[str, Offer] = {}

    async def read(name: str, table: SupervisedPoolTable) -> None:
        offers[name] = await read_offer(name, table, around)

    async with trio.open_nursery() as nursery:
        for name, table in tables.items():
            nursery.start_soon(read, name, table)
    return offers
