"""The whole configuration as one frozen value, with its routes from listeners to pools."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from hotswap.core.config.fields import NAME_PATTERN, Table
from hotswap.core.config.listeners import ListenerTable
from hotswap.core.config.pools import PoolField
from hotswap.core.config.process import AdminTable, ProxyTable
from hotswap.core.config.routes import RouteTable

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]


class Configuration(Table):
    """The configuration, defaults filled in.

    What one table alone cannot know (does the pool of a route exist?) is checked by
    `hotswap.core.config.parsing.parse_draft`, which is therefore the way to make one.
    """

    proxy: ProxyTable = ProxyTable()
    """The process: where it keeps its state, how it logs, how it ends."""

    admin: AdminTable = AdminTable()
    """Where the admin API answers."""

    listeners: dict[Name, ListenerTable] = Field(default_factory=dict)
    """Named public sockets that the proxy owns."""

    routes: tuple[RouteTable, ...] = ()
    """Which pool answers what."""

    pools: dict[Name, PoolField] = Field(default_factory=dict)
    """Backends that share traffic."""
