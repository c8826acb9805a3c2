"""Configurations as the tests need them, as text a user could have written."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.certificates import Certificates
from tests.support.hotswap import SOURCES


def toml_value(value: object) -> str:
    """A value as TOML writes it: texts, numbers, booleans, lists and inline tables."""
    match value:
        case bool() | int() | float() | str() | Path():
            return json.dumps(str(value) if isinstance(value, Path) else value)
        case list() | tuple():
            return "[" + ", ".join(map(toml_value, value)) + "]"
        case Mapping():
            return "{ " + ", ".join(f"{json.dumps(key)} = {toml_value(item)}" for key, item in value.items()) + " }"
        case _:
            raise TypeError(repr(value))


def table(name: str, values: Mapping[str, object]) -> str:
    """A table of TOML; values that are mappings become inline tables."""
    return "\n".join([f"[{name}]", *(f"{key} = {toml_value(value)}" for key, value in values.items()), ""])


def listeners(certificates: Certificates | None = None, **settings: object) -> str:
    """A plain listener `public`, a TLS listener `secure` where there are certificates, and a route for everything."""
    text = table("listeners.public", {"bind": ["127.0.0.1:0"], **settings})
    if certificates is not None:
        files = [{"cert": certificates.cert, "key": certificates.key}]
        text += table("listeners.secure", {"bind": ["127.0.0.1:0"], "tls": {"certificates": files}, **settings})
    return text + '[[routes]]\npath = "/"\npool = "web"\n'


def demo_pool(
    data: Path,
    *,
    app: str = "demo:app",
    boot_seconds: float = 0,
    strategy: str = "drain-first",
    environment: Mapping[str, str] | None = None,
    **settings: object,
) -> str:
    """A supervised pool `web` of two demo apps that share one database in the directory `data`."""
    variables = {
        "PYTHONPATH": SOURCES,
        "DEMO_DATABASE": str(data / "notes.sqlite3"),
        "DEMO_BOOT_SECONDS": str(boot_seconds),
        **(environment or {}),
    }
    values = {
        "server": "uvicorn",
        "app": app,
        "directory": data,
        "size": 2,
        "rollout": {"strategy": strategy},
        "environment": variables,
        # Probing often costs little here, and a test that waits for a probe is a slow test.
        "health": {"interval": "200ms"},
    }
    return table("pools.web", {**values, **settings})


def command_pool(directory: Path, *command: str, strategy: str = "drain-first", **settings: object) -> str:
    """A supervised pool `web` of two processes `python -m faulty.…`, such as `("faulty.plain",)`."""
    values = {
        "server": "command",
        "command": [sys.executable, "-m", *command],
        "directory": directory,
        "size": 2,
        "rollout": {"strategy": strategy},
        "environment": {"PYTHONPATH": SOURCES},
        "health": {"interval": "200ms"},
    }
    return table("pools.web", {**values, **settings})
