"""Configuration: frozen models of the TOML file, and its parser.

One module a group of tables (`process`, `listeners`, `pools`), the kinds of value they share
(`fields`), the whole (`configuration`, `schema`), what is wrong (`findings`, `conflicts`) and the way in (`parsing`).
"""

from __future__ import annotations

from hotswap.core.config.configuration import Configuration
from hotswap.core.config.listeners import LimitsTable, ListenerTable, TlsTable
from hotswap.core.config.parsing import Draft, locate, parse_draft
from hotswap.core.config.pools import CompatibilityTable, HealthTable, PoolTable, StaticPoolTable, SupervisedPoolTable
from hotswap.core.config.process import AccessLogFormat, AdminTable
from hotswap.core.config.routes import RouteTable
from hotswap.core.config.schema import configuration_schema

__all__ = [
    "AccessLogFormat",
    "AdminTable",
    "CompatibilityTable",
    "Configuration",
    "Draft",
    "HealthTable",
    "LimitsTable",
    "ListenerTable",
    "PoolTable",
    "RouteTable",
    "StaticPoolTable",
    "SupervisedPoolTable",
    "TlsTable",
    "configuration_schema",
    "locate",
    "parse_draft",
]
