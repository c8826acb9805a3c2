"""Writes a first, commented configuration for the app of a directory, with a server that suits it."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from hotswap.cli.apps import App, Findings, find_apps
from hotswap.cli.exits import CommandError, ExitCode
from hotswap.core.server import ABILITIES, Interface, Server

PREFERRED = {
    Interface.ASGI: (Server.UVICORN, Server.HYPERCORN, Server.GRANIAN, Server.DAPHNE),
    Interface.WSGI: (Server.GUNICORN, Server.WAITRESS, Server.GRANIAN),
}

ENVIRONMENTS = (".venv", "venv", "env")
"""Where the interpreter of an app is, if it is not the proxy's own."""

CALLS = {Server.GUNICORN: "()", Server.HYPERCORN: "()"}
"""What stands behind a function that makes the app, for servers that evaluate it."""

FACTORY_ARGUMENTS = {Server.UVICORN: ("--factory",), Server.GRANIAN: ("--factory",)}
"""What tells a server that it was given such a function."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Starter:
    """App, server and interpreter of a first configuration.

    Attributes:
        app: what the server imports.
        interface: what it speaks.
        server: the preset.
        args: what the server has to be told besides.
        pool: the name of its pool.
        python: the interpreter of the app, relative to the file; "" when it is the proxy's own.
        health_path: what the health check asks for; "" when nothing was found.
        django: a Django project, which has wishes of its own.
        installed: the interpreter has the server.
    """

    app: str
    interface: Interface
    server: Server
    args: tuple[str, ...]
    pool: str
    python: str
    health_path: str
    django: bool
    installed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """The Python interpreter that runs the app.

    Attributes:
        path: relative to the directory of the app; "" for the one that runs this.
        packages: its folder of packages; None for the one that runs this.
    """

    path: str
    packages: Path | None

    def has(self, server: Server) -> bool:
        """Whether a server is installed for it."""
        if self.packages is None:
            return importlib.util.find_spec(server.value) is not None
        return (self.packages / server.value).is_dir()


def find_interpreter(directory: Path) -> Interpreter:
    """Look for a virtual environment beside the app that is not the one that runs this."""
    for name in ENVIRONMENTS:
        python = directory / name / "bin" / "python"
        packages = next(iter(sorted((directory / name / "lib").glob("python3*/site-packages"))), None)
        if packages is not None and python.exists() and (directory / name).resolve() != Path(sys.prefix).resolve():
            return Interpreter(path=f"{name}/bin/python", packages=packages)
    return Interpreter(path="", packages=None)


def detect_starter(directory: Path, *, app: str | None, server: str | None) -> Starter | list[str]:
    """Find the app of a directory without importing it, and choose a server.

    Args:
        directory: where to look.
        app: what was named; it is then only asked what it speaks.
        server: what was named.

    Returns:
        The one app, or the names of several or none: then somebody has to choose.

    Raises:
        CommandError: what was named cannot be used.
    """
    presets = [preset for preset in Server if preset is not Server.COMMAND]
    if server is not None and server not in presets:
        raise CommandError(ExitCode.USAGE, f"--server is {server!r}: allowed: {', '.join(presets)}")
    named = None if server is None else Server(server)
    found = find_apps(directory)
    interpreter = find_interpreter(directory)
    if app is not None:
        chosen: App | None = _named(app, found)
    else:
        chosen = _only(found, named, interpreter)
    if chosen is None:
        return sorted(one.name for one in found.apps)
    preset = named or _server_for(chosen.interface, interpreter)
    interface = chosen.interface
    if interface not in ABILITIES[preset].interfaces:
        interface = ABILITIES[preset].interfaces[0]
    if chosen.factory and preset not in {*CALLS, *FACTORY_ARGUMENTS}:
        hint = f"give a module a line such as: application = {chosen.name.partition(':')[2]}()"
        raise CommandError(ExitCode.USAGE, f"{preset} cannot be told to call {chosen.name}", hint)
    pool = chosen.name.partition(":")[0].split(".")[0].lower()
    pool = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in pool)
    return Starter(
        app=chosen.name + (CALLS.get(preset, "") if chosen.factory else ""),
        interface=interface,
        server=preset,
        args=FACTORY_ARGUMENTS.get(preset, ()) if chosen.factory else (),
        pool=pool.strip("-") or "app",
        python=interpreter.path,
        health_path=found.health_path,
        django=bool(found.project),
        installed=interpreter.has(preset),
    )


def _named(name: str, found: Findings) -> App:
    module, colon, attribute = name.partition(":")
    if not colon or not module or not attribute:
        raise CommandError(ExitCode.USAGE, f"--app is {name!r}: allowed: MODULE:ATTRIBUTE, such as shop.asgi:app")
    known = next((app for app in found.apps if app.name == name), None)
    return known or App(name=name, interface=Interface.WSGI if "wsgi" in module.lower() else Interface.ASGI)


def _only(found: Findings, named: Server | None, interpreter: Interpreter) -> App | None:
    """Give the one app; of a Django project's two entry points the one for which a server is there."""
    if not found.project or len(found.apps) < 2:
        return found.apps[0] if len(found.apps) == 1 else None
    by_interface = {app.interface: app for app in found.apps}
    if named is not None:
        wanted = [interface for interface in ABILITIES[named].interfaces if interface in by_interface]
        return by_interface[wanted[0]] if wanted else None
    # Most Django projects are written for WSGI, so without a server for either that is what is proposed.
    for interface in (Interface.WSGI, Interface.ASGI):
        if interface in by_interface and any(interpreter.has(server) for server in PREFERRED[interface][:1]):
            return by_interface[interface]
    return by_interface[Interface.WSGI]


def _server_for(interface: Interface, interpreter: Interpreter) -> Server:
    installed = (server for server in PREFERRED[interface] if interpreter.has(server))
    return next(installed, PREFERRED[interface][0])


def toml(text: str) -> str:
    """Write a string of TOML: JSON escapes what TOML does."""
    return json.dumps(text, ensure_ascii=False)


def starter_text(starter: Starter) -> str:
    """The text of the file: what is needed, and as comments what most people change next."""
    pool = [f'server = "{starter.server}"', f"app = {toml(starter.app)}"]
    if ABILITIES[starter.server].interfaces[0] is not starter.interface:
        pool.append(f'interface = "{starter.interface}"')
    if starter.args:
        pool.append("args = [" + ", ".join(map(toml, starter.args)) + "]")
    if starter.python:
        pool.append(_with_comment(f"python = {toml(str(starter.python))}", "the interpreter of the app"))
    health = [
        _with_comment(f"path = {toml(starter.health_path or '/')}", "asked for until it says yes, and then every 2 s")
    ]
    if starter.django:
        health.append(_with_comment('host = "localhost"', "must be one of ALLOWED_HOSTS"))
    if not starter.health_path:
        said = "narrow it once the app has a path that says whether it can serve"
        health.append(_with_comment('expect = "200-499"', said))
    return TEMPLATE.format(name=starter.pool, pool="\n".join(pool), health="\n".join(health))


def _with_comment(setting: str, comment: str) -> str:
    return f"{setting:<34} # {comment}"


TEMPLATE = """\
# hotswap: what this proxy listens on, and what runs behind it.
# "hotswap check" says what is wrong with it; the reference of every key is docs/reference/configuration.md.

[listeners.public]
bind = ["127.0.0.1:8000"]          # for the world: ["0.0.0.0:8000", "[::]:8000"]
# For HTTPS, with a certificate for development:
# tls = {{ self_signed = ["localhost"] }}
# ... or with your own:
# tls = {{ certificates = [{{ cert = "fullchain.pem", key = "privkey.pem" }}] }}

[admin]
bind = ["127.0.0.1:9900"]          # the page in a browser; the verbs of hotswap need no address

[[routes]]                         # the longest path wins
path = "/"
pool = "{name}"

[pools.{name}]
{pool}
directory = "."                    # a symbolic link that a deploy moves on is resolved at each rollout
size = 2                           # so many processes; "auto": one less than there are processors
# environment = {{ DATABASE_URL = "sqlite:///data.db" }}
# start_timeout = "30s"            # from spawn to healthy
# drain_timeout = "30s"            # how long a replaced process may finish its requests
# rollout = {{ strategy = "drain-first", on_failure = "lock" }}

[pools.{name}.health]
{health}
# interval = "2s"

# [pools.{name}.compatibility]
# file = "RESTART_EPOCH"           # a number in it; releases with another number are not rolled in
"""
