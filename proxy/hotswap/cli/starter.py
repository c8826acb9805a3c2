"""Writes a first, commented configuration for the app of a directory, with a server that suits it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from hotswap.cli.apps import SOURCES, App, Findings, find_apps
from hotswap.cli.exits import CommandError, ExitCode
from hotswap.cli.interpreters import Interpreter, find_interpreter
from hotswap.cli.site_files import FileRoute, find_site_files
from hotswap.core.server import ABILITIES, Interface, Server

PREFERRED = {
    Interface.ASGI: (Server.UVICORN, Server.HYPERCORN, Server.GRANIAN, Server.DAPHNE),
    Interface.WSGI: (Server.GUNICORN, Server.WAITRESS, Server.GRANIAN),
}

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
        interpreter: the interpreter of the app.
        directory: where the app runs, relative to the file.
        search: where its modules are, relative to that; "" when they are right there.
        health_path: what the health check asks for; "" when nothing was found.
        django: a Django project, which has wishes of its own.
        files: what it leaves to the front.
        api_path: where the app is asked by a front end; "" when nothing was found.
        installed: the interpreter has the server.
    """

    app: str
    interface: Interface
    server: Server
    args: tuple[str, ...]
    pool: str
    interpreter: Interpreter
    directory: str
    search: str
    health_path: str
    django: bool
    files: tuple[FileRoute, ...]
    api_path: str
    installed: bool


def detect_starter(
    directory: Path, *, app: str | None, server: str | None, python: str | None = None
) -> Starter | list[str]:
    """Find the app of a directory without importing it, and choose a server.

    Args:
        directory: where to look.
        app: what was named; it is then only asked what it speaks.
        server: what was named.
        python: the interpreter that was named.

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
    roots = {directory / one.root for one in found.apps if one.root}
    interpreter = find_interpreter(directory, roots=sorted(roots), named=python or "")
    if app is not None:
        chosen: App | None = _named(app, found, directory)
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
    place, search = _split(chosen.root)
    pool = chosen.name.partition(":")[0].split(".")[0].lower()
    pool = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in pool)
    return Starter(
        app=chosen.name + (CALLS.get(preset, "") if chosen.factory else ""),
        interface=interface,
        server=preset,
        args=FACTORY_ARGUMENTS.get(preset, ()) if chosen.factory else (),
        pool=pool.strip("-") or "app",
        interpreter=interpreter,
        directory=place,
        search=search,
        health_path=found.health_path,
        django=bool(found.project),
        files=find_site_files(directory, directory / place, django=bool(found.project)),
        api_path=found.api_path,
        installed=interpreter.has(preset),
    )


def _split(root: str) -> tuple[str, str]:
    """Tell where an app runs from where its modules are: in a src layout the one is above the other."""
    above, _, last = root.rpartition("/")
    return (above or ".", last) if last == SOURCES else (root or ".", "")


def _named(name: str, found: Findings, directory: Path) -> App:
    module, colon, attribute = name.partition(":")
    if not colon or not module or not attribute:
        raise CommandError(ExitCode.USAGE, f"--app is {name!r}: allowed: MODULE:ATTRIBUTE, such as shop.asgi:app")
    known = next((app for app in found.apps if app.name == name), None)
    top = module.partition(".")[0]
    below = directory / SOURCES / top
    root = SOURCES if below.is_dir() or below.with_suffix(".py").is_file() else ""
    return known or App(name=name, interface=Interface.WSGI if "wsgi" in module.lower() else Interface.ASGI, root=root)


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
    if starter.interpreter.path:
        pool.append(_with_comment(f"python = {toml(starter.interpreter.path)}", "the interpreter of the app"))
    else:
        pool.append(_with_comment('# python = ".venv/bin/python"', "the app's; without it, hotswap's own runs the app"))
    place = _with_comment(
        f"directory = {toml(starter.directory)}", "a symbolic link that a deploy moves on is resolved at each rollout"
    )
    environment = '# environment = { DATABASE_URL = "sqlite:///data.db" }'
    if starter.search:
        environment = _with_comment(f"environment = {{ PYTHONPATH = {toml(starter.search)} }}", "where the modules are")
    health = [
        _with_comment(f"path = {toml(starter.health_path or '/')}", "asked for until it says yes, and then every 2 s")
    ]
    if starter.django:
        health.append(_with_comment('host = "localhost"', "must be one of ALLOWED_HOSTS"))
    if not starter.health_path:
        said = "narrow it once the app has a path that says whether it can serve"
        health.append(_with_comment('expect = "200-499"', said))
    return TEMPLATE.format(
        name=starter.pool,
        routes=_routes(starter),
        pool="\n".join(pool),
        place=place,
        environment=environment,
        health="\n".join(health),
    )


def _routes(starter: Starter) -> str:
    """The routes: of the app, and of the files that it leaves to the front."""
    page = next((route for route in starter.files if route.path == "/" and route.sure), None)
    # A front end answers whatever it is asked for, so the app needs a path of its own beside it.
    beside = page is not None and starter.api_path and not starter.django
    routes = [
        _with_comment("[[routes]]", "the longest path wins"),
        f"path = {toml(starter.api_path if beside else '/')}",
        f"pool = {toml(starter.pool)}",
    ]
    for route in starter.files:
        said = [
            _with_comment("[[routes]]", f'what nginx does by "location {route.path}" and {route.like}'),
            f"path = {toml(route.path)}",
            *(() if route.files.startswith("/") else (f"pool = {toml(starter.pool)}",)),
            _with_comment(f"files = {toml(route.files)}", route.hint),
            *((f"fallback = {toml(route.fallback)}",) if route.fallback else ()),
        ]
        if not route.sure or (route.path == "/" and not beside):
            if route.path == "/":
                said.insert(0, "a built front end is there; for this the app needs another path above, such as /api:")
            said = [f"# {line}" for line in said]
        routes += ["", *said]
    return "\n".join(routes)


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

{routes}

[pools.{name}]
{pool}
{place}
size = 2                           # so many processes; "auto": one less than there are processors
{environment}
# start_timeout = "30s"            # from spawn to healthy
# drain_timeout = "30s"            # how long a replaced process may finish its requests
# rollout = {{ strategy = "drain-first", on_failure = "lock" }}

[pools.{name}.health]
{health}
# interval = "2s"

# [pools.{name}.compatibility]
# file = "RESTART_EPOCH"           # a number in it; releases with another number are not rolled in
"""
