"""The configuration: what the TOML file may say, as frozen models, and how it is read.

One module a group of tables (`process`, `listeners`, `routes`, `pools`), the kinds of value they share
(`fields`), the whole (`configuration`, `schema`), what is wrong (`findings`, `conflicts`) and the way in (`parsing`).
"""

from __future__ import annotations

from proxy.core.config.configuration import Configuration
from proxy.core.config.listeners import (
    CertificateTable,
    LimitsTable,
    ListenerTable,
    RedirectScheme,
    RedirectStatus,
    RedirectTable,
    TlsTable,
    TlsVersion,
)
from proxy.core.config.parsing import Draft, parse_configuration, parse_draft
from proxy.core.config.pools import (
    CompatibilityTable,
    HealthTable,
    PoolTable,
    Protocol,
    RolloutTable,
    StaticPoolTable,
    StorageTable,
    SupervisedPoolTable,
)
from proxy.core.config.process import AccessLogFormat, AdminTable, LogFormat, LogLevel, ProxyTable
from proxy.core.config.routes import RouteTable
from proxy.core.config.schema import configuration_schema

__all__ = [
    "AccessLogFormat",
    "AdminTable",
    "CertificateTable",
    "CompatibilityTable",
    "Configuration",
    "Draft",
    "HealthTable",
    "LimitsTable",
    "ListenerTable",
    "LogFormat",
    "LogLevel",
    "PoolTable",
    "Protocol",
    "ProxyTable",
    "RedirectScheme",
    "RedirectStatus",
    "RedirectTable",
    "RolloutTable",
    "RouteTable",
    "StaticPoolTable",
    "StorageTable",
    "SupervisedPoolTable",
    "TlsTable",
    "TlsVersion",
    "configuration_schema",
    "parse_configuration",
    "parse_draft",
]
