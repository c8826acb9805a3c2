"""Write docs/reference/configuration.md from the models, so that it cannot say what the program does not do.

`make docs` writes it; a test fails while the file is stale.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from hotswap.core.config import (
    AdminTable,
    CompatibilityTable,
    HealthTable,
    LimitsTable,
    ListenerTable,
    RouteTable,
    StaticPoolTable,
    SupervisedPoolTable,
    TlsTable,
    configuration_schema,
)
from hotswap.core.config.bind import SocketTable
from hotswap.core.config.listeners import CertificateTable, RedirectTable
from hotswap.core.config.pools import RecycleTable, RolloutTable, StorageTable
from hotswap.core.config.process import ProxyTable
from hotswap.core.errors import written
from hotswap.core.server import ABILITIES, Server

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "configuration.md"

TABLES: tuple[tuple[str, type[BaseModel]], ...] = (
    ("[proxy]", ProxyTable),
    ("[admin]", AdminTable),
    ("[listeners.NAME]", ListenerTable),
    ("[[listeners.NAME.bind]], a Unix socket", SocketTable),
    ("[listeners.NAME.tls]", TlsTable),
    ("[[listeners.NAME.tls.certificates]]", CertificateTable),
    ("[listeners.NAME.limits]", LimitsTable),
    ("[listeners.NAME.redirect]", RedirectTable),
    ("[[routes]]", RouteTable),
    ("[pools.NAME], supervised", SupervisedPoolTable),
    ("[pools.NAME], static", StaticPoolTable),
    ("[pools.NAME.health]", HealthTable),
    ("[pools.NAME.rollout]", RolloutTable),
    ("[pools.NAME.recycle]", RecycleTable),
    ("[pools.NAME.compatibility]", CompatibilityTable),
    ("[pools.NAME.storage]", StorageTable),
)
"""Every table with its heading, in the order of the page."""

KINDS: Mapping[str, str] = {
    "duration": 'duration, `"500ms"`, `"30s"`, `"5m"`',
    "size": 'size, `"64KiB"`, `"10MiB"`',
    "path": "path",
    "program": "path or program",
    "address": '`"HOST:PORT"`, `"[IPV6]:PORT"` or `"unix:/path"`',
    "network": 'network, `"10.0.0.0/8"`',
    "statuses": 'statuses, `"200-399"`',
    "host": "host name",
    "url-path": "path of a URL",
}

COMPUTED: Mapping[tuple[type[BaseModel], str], str] = {
    (ProxyTable, "state_dir"): "see right",
    (RedirectTable, "port"): "that of the scheme",
    (SupervisedPoolTable, "interface"): "what the server speaks first",
    (SupervisedPoolTable, "listen"): "the best its server can do",
    (SupervisedPoolTable, "directory"): "where the file is",
}
"""Defaults that follow from something else."""

INTRODUCTION = """\
# Configuration

<!-- Written by `make docs` from proxy/hotswap/core/config; changes belong there. -->

The file is TOML.
It is `hotswap.toml` in the working directory or in `/etc/hotswap`, unless the command line names another.
Links in its path are followed anew by every reload, also those that the shell went through to the working directory
(`$PWD`): a proxy that was started in `current/` is configured by the release that the link leads to.
`hotswap check` reads it like `hotswap run` would and reports every problem at once, with its line and,
where that can be told, what to write instead.
It also asks the interpreter of each pool, as the pool's user and in its directory, whether the server is installed and
the app is there, without importing the app.
`run` starts such a pool all the same, since a deploy repairs it, and says in the log what is missing.
What will merely disappoint is a warning.

- An unknown key is an error, so a typing error never passes in silence.
- A duration is a string with a unit: `ms`, `s`, `m`, `h` or `d`.
- A size is a string with a unit: `B`, `KiB`, `MiB` or `GiB`, powers of 1024.
- A relative path starts at the directory of the file, not at the working directory.
- Names of listeners and pools have letters, digits, `-` and `_`, at most 40 of them.
- At least one listener is needed, and at least one route unless every listener redirects.
- Two listeners, or a listener and the admin API, cannot have the same address; a wildcard covers its family.
- Two routes cannot have the same path for the same host.
"""


def write_page() -> str:
    """Give the text of the page."""
    schema = configuration_schema()
    parts = [INTRODUCTION]
    for heading, model in TABLES:
        parts.append(f"## `{heading.partition(',')[0]}`{heading.partition(']')[2].lstrip(']')}\n")
        parts.append(" ".join((model.__doc__ or "").split()) + "\n")
        if model is SupervisedPoolTable:
            parts.append("A pool with `server` is supervised.\n")
        if model is StaticPoolTable:
            parts.append("A pool with `addresses` is static; it is probed and balanced, and never rolled.\n")
        parts.append("| key | value | default | meaning |\n|---|---|---|---|")
        parts.append("\n".join(_rows(model, schema)) + "\n")
        if model is SupervisedPoolTable:
            parts.append("What each server can do, its default first:\n")
            parts.append("| server | interface | listen |\n|---|---|---|")
            parts.append("\n".join(_servers()) + "\n")
    return "\n".join(parts)


def _rows(model: type[BaseModel], schema: Mapping[str, Any]) -> Iterator[str]:
    definitions = schema["$defs"]
    required = definitions[model.__name__].get("required", [])
    for name, key in definitions[model.__name__]["properties"].items():
        default = "required" if name in required else _default(model, name, key)
        cells = [f"`{name}`", _kind(key, definitions), default, key["description"]]
        yield f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def _default(model: type[BaseModel], name: str, key: Mapping[str, Any]) -> str:
    if (model, name) in COMPUTED:
        return COMPUTED[model, name]
    default = key["default"]
    if default is None:
        return "none"
    return "see its table" if isinstance(default, dict) and default else f"`{written(default)}`"


def _kind(key: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    if "$ref" in key:
        return _kind(definitions[key["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in key or "oneOf" in key:
        options = key.get("anyOf") or key["oneOf"]
        kinds = [_kind(option, definitions) for option in options if option.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in key:
        return ", ".join(f"`{written(word)}`" for word in key["enum"])
    if "const" in key:
        return f"`{written(key['const'])}`"
    kind = key.get("type")
    if kind == "array":
        return f"list: {_kind(key['items'], definitions)}"
    if kind == "integer":
        low, high = key.get("minimum"), key.get("maximum")
        return f"number from {low} to {high}" if high and high < 1_000_000 else f"number, {low} or more"
    if kind == "object":
        return "table" if "properties" in key else "table of strings"
    if kind == "boolean":
        return "`true` or `false`"
    form = KINDS.get(key.get("format", ""), "string")
    return f'{form}, or `"unlimited"`' if "unlimited" in key.get("pattern", "") else form


def _servers() -> Iterator[str]:
    for server in Server:
        abilities = ABILITIES[server]
        cells = [
            f"`{server}`",
            ", ".join(abilities.interfaces) or "its own affair",
            ", ".join(abilities.listens),
        ]
        yield f"| {' | '.join(cells)} |"
