"""The whole file as one frozen value, and its JSON Schema."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from proxy.core.config.fields import NAME_PATTERN, Table
from proxy.core.config.listeners import ListenerTable
from proxy.core.config.pools import PoolField
from proxy.core.config.process import AdminTable, ProxyTable
from proxy.core.config.routes import RouteTable

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]


class Configuration(Table):
    """Everything the file says, with the defaults filled in.

    What one table alone cannot know (does the pool of a route exist?) is checked by
    `proxy.core.config.parsing.parse_configuration`, which is therefore the way to make one.
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


def configuration_schema() -> dict[str, Any]:
    """Describe the file as JSON Schema (2020-12), for editors that complete and check TOML."""
    schema = Configuration.model_json_schema(by_alias=True, mode="validation")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "hotswap configuration",
    }
