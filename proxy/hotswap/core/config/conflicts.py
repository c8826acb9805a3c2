"""Checks across keys: tables that contradict each other or themselves.

The checks read the document as it was parsed from TOML, not the models, so that they also run while some keys
are wrong: a user sees everything at once. A value of the wrong type is reported by its model and passed over
here.
"""

from __future__ import annotations

import os.path
from collections.abc import Iterator, Mapping
from typing import Final

from hotswap.core.address import Address, TcpAddress, UnixAddress, ip_of, parse_address
from hotswap.core.config.bind import address_in
from hotswap.core.config.fields import resolve_path
from hotswap.core.config.findings import Finding
from hotswap.core.config.key_lines import Location
from hotswap.core.config.route_conflicts import find_route_conflicts
from hotswap.core.config.spelling import nearest
from hotswap.core.errors import MISSING, written
from hotswap.core.http.field_changes import find_wrong_fields
from hotswap.core.server import ABILITIES, Server, refused_argument

Raw = Mapping[str, object]

RESERVED_VARIABLES = frozenset(
    {"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET"}
    | {"HOTSWAP_BACKEND", "HOTSWAP_GENERATION", "HOTSWAP_POOL", "HOTSWAP_SLOT"}
)
"""Variables that the proxy itself gives to a backend."""

_PRESET_ONLY = ("app", "interface", "args", "python")
_MOST_NAMES = 8
_PLACEHOLDERS = {"{socket}": "unix", "{host}": "tcp", "{port}": "tcp"}


def find_conflicts(document: Raw, directory: str) -> Iterator[Finding]:
    """Find every contradiction in a document.

    Args:
        document: the tables as TOML gives them.
        directory: where the file is; relative paths of sockets are the same path if they are the same there.
    """
    yield from _presence(document)
    yield from _addresses(document, directory)
    yield from _admin(document)
    for name, listener in tables(document, "listeners"):
        yield from _listener(("listeners", name), listener)
    yield from _routes(document)
    for name, pool in tables(document, "pools"):
        yield from _pool(("pools", name), pool)


def tables(within: Raw, key: str) -> Iterator[tuple[str, Raw]]:
    """Yield the tables inside a table of tables, and nothing for what is not one."""
    outer = within.get(key)
    for name, inner in outer.items() if isinstance(outer, Mapping) else ():
        if isinstance(inner, Mapping):
            yield name, inner


def entries(within: Raw, key: str) -> Iterator[tuple[int, Raw]]:
    """Yield the tables of a list of tables with their index, and nothing for what is not one."""
    outer = within.get(key)
    for index, inner in enumerate(outer if isinstance(outer, list) else ()):
        if isinstance(inner, Mapping):
            yield index, inner


def texts(within: Raw, key: str) -> Iterator[tuple[int, str]]:
    """Yield the strings of a list with their index, and nothing for what is not one."""
    outer = within.get(key)
    for index, inner in enumerate(outer if isinstance(outer, list) else ()):
        if isinstance(inner, str):
            yield index, inner


def _presence(document: Raw) -> Iterator[Finding]:
    if not document.get("listeners", {}):
        if "listeners" not in document and nearest("listeners", document):
            return  # they are told to be misspelt
        yield Finding(("listeners",), MISSING, f"at least one table such as [listeners.public]; {_least(document)}")
        return
    routed = any("redirect" not in listener for _, listener in tables(document, "listeners"))
    if routed and not document.get("routes", []) and ("routes" in document or not nearest("routes", document)):
        names = [name for name, _ in tables(document, "pools")]
        pool = names[0] if names else "NAME"
        yield Finding(("routes",), MISSING, f"at least one entry; add [[routes]] and, below it, pool = {written(pool)}")


def _least(document: Raw) -> str:
    """Say what has to be added to a file without listeners, as lines that may stand at its very beginning."""
    lines = ['listeners.public.bind = ["127.0.0.1:8000"]']
    pools = [name for name, _ in tables(document, "pools")]
    if not document.get("routes"):
        lines.append(f"routes = [{{ pool = {written(pools[0] if pools else 'web')} }}]")
    if not document.get("pools"):
        lines.append('pools.web = { server = "uvicorn", app = "shop.asgi:app" }')
    if len(lines) == 1:
        return f"add {lines[0]}"
    return f'the least is {", ".join(lines[:-1])} and {lines[-1]}, each on a line; "hotswap init" writes a whole file'


def bound(owner: Raw) -> Iterator[tuple[int, str]]:
    """Yield the addresses of a listener or of the admin API with their index, and nothing for what is none."""
    entries = owner.get("bind")
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        address = address_in(entry)
        if address:
            yield index, address


def _addresses(document: Raw, directory: str) -> Iterator[Finding]:
    """Find two sockets that cannot be bound at the same time."""
    admin = document.get("admin", {})
    admin = admin if isinstance(admin, Mapping) else {}
    owners: list[tuple[Location, Raw]] = [(("admin",), admin)]
    owners.extend((("listeners", name), listener) for name, listener in tables(document, "listeners"))
    taken: list[tuple[Address, str]] = []
    for location, owner in owners:
        for index, text in bound(owner):
            try:
                address = parse_address(text)
            except ValueError:
                continue
            if isinstance(address, UnixAddress):
                address = UnixAddress(os.path.normpath(resolve_path(address.path, directory)))
            name = ".".join(map(str, location))
            other = next((holder for held, holder in taken if _overlap(held, address)), None)
            if other is not None:
                wrong = f"an address of its own; {other} listens there already: give one of them another port or path"
                yield Finding((*location, "bind", index), text, wrong)
            taken.append((address, name))


def _overlap(one: Address, other: Address) -> bool:
    """Tell whether the kernel would refuse to bind both."""
    if isinstance(one, UnixAddress) or isinstance(other, UnixAddress):
        return one == other
    if one.port != other.port or one.port == 0:
        return False
    first, second = _host(one), _host(other)
    return first == second or (
        # A wildcard takes every address of its family; `[::]` is bound for IPv6 only.
        _family(first) == _family(second) and bool({first, second} & {"0.0.0.0", "::"})
    )


def _host(address: TcpAddress) -> str:
    return "127.0.0.1" if address.host.lower() == "localhost" else address.host.lower()


def _family(host: str) -> int:
    ip = ip_of(host)
    return 0 if ip is None else ip.version


def _admin(document: Raw) -> Iterator[Finding]:
    admin = document.get("admin", {})
    if not isinstance(admin, Mapping) or admin.get("token_file"):
        return
    for index, text in texts(admin, "bind"):
        try:
            address = parse_address(text)
        except ValueError:
            continue
        if isinstance(address, TcpAddress) and not is_loopback(address.host):
            yield Finding(
                ("admin", "bind", index),
                text,
                f'a loopback address or "unix:/path"; others reach this one: write "127.0.0.1:{address.port}", '
                "or name a file with a token by admin.token_file",
            )


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can connect to a host."""
    ip = ip_of(host)
    return host.lower() == "localhost" if ip is None else ip.is_loopback


def _listener(location: Location, listener: Raw) -> Iterator[Finding]:
    tls, redirect = listener.get("tls"), listener.get("redirect")
    if isinstance(tls, Mapping):
        example = 'self_signed = ["localhost"]'
        if {"cert", "key"} & set(tls):
            cert, key = (written(tls.get(name, "FILE")) for name in ("cert", "key"))
            example = f"certificates = [{{ cert = {cert}, key = {key} }}], and leave both out here"
        yield from _either((*location, "tls"), tls, "certificates", "self_signed", example)
    if isinstance(redirect, Mapping):
        if "compress" in listener:
            wrong = "left out in a listener that redirects everything; a redirect is too short to be compressed"
            yield Finding((*location, "compress"), listener["compress"], wrong)
        if "tls" in listener:
            yield Finding(
                (*location, "redirect"),
                redirect,
                "in a listener without tls; give it one of its own, such as [listeners.bounce]",
            )
        elif redirect.get("scheme") == "http":
            port = redirect.get("port", 80)
            if any(text.rpartition(":")[2] == str(port) for _, text in bound(listener)):
                yield Finding(
                    (*location, "redirect"),
                    redirect,
                    "a redirect to another port or scheme; this one leads back to itself",
                )


def _either(location: Location, table: Raw, one: str, other: str, example: str) -> Iterator[Finding]:
    """Of two keys exactly one has to be there, and not empty."""
    given = [key for key in (one, other) if key in table and table[key] not in ([], "")]
    if len(given) == 2:
        yield Finding((*location, other), table[other], f"left out where {one} is given; it is either one or the other")
    elif not given and not any(key in table and not isinstance(table[key], list | str) for key in (one, other)):
        yield Finding(
            (*location, one), table.get(one, MISSING), f"given; a table has either {one} or {other}: add {example}"
        )


def _routes(document: Raw) -> Iterator[Finding]:
    pools = document.get("pools", {})
    known = [name for name, _ in tables(document, "pools")] if isinstance(pools, Mapping) else None
    seen: dict[tuple[str, str], int] = {}
    for index, route in entries(document, "routes"):
        pool = route.get("pool")
        if isinstance(pool, str) and pool and known is not None and pool not in known:
            near = nearest(pool, known)
            there_is = f"there is {_listed(known)}" if known else f"there is none: add [pools.{pool}]"
            meant = f": write {written(near[0] if near else known[0])}" if near or len(known) == 1 else ""
            yield Finding(("routes", index, "pool"), pool, f"the name of a pool; {there_is}{meant}")
        if pool in (None, "") and not route.get("files") and not route.get("redirect"):
            name = known[0] if known else "web"
            wrong = f"given; name of the pool that answers: add pool = {written(name)}, or files, or redirect"
            yield Finding(("routes", index, "pool"), route.get("pool", MISSING), wrong)
        headers = route.get("headers")
        if isinstance(headers, Mapping):
            for name, wrong in find_wrong_fields(headers):
                yield Finding(("routes", index, "headers", name), headers[name], wrong)
        yield from find_route_conflicts(("routes", index), route, dict(tables(document, "pools")))
        yield from _redirect(document, index, route)
        path = route.get("path", "/")
        if not isinstance(path, str):
            continue
        hosts = [text.lower() for _, text in texts(route, "hosts")] or [""]
        for host in hosts:
            key = (host, path.rstrip("/"))
            first = seen.setdefault(key, index)
            if first != index:
                same = f"host {host!r}" if host else "any host"
                yield Finding(
                    ("routes", index, "path"),
                    path,
                    f"a path of its own; routes[{first}] has the same for {same}",
                )


def _redirect(document: Raw, index: int, route: Raw) -> Iterator[Finding]:
    """Find a redirect that leads back to its route."""
    redirect = route.get("redirect")
    if isinstance(redirect, str) and redirect and _leads_back(document, index, route, redirect):
        yield Finding(
            ("routes", index, "redirect"),
            redirect,
            "a redirect to another site; this one leads back to its own route: where only https is meant, give the "
            "listener without tls redirect = {}, and leave this route out",
        )


def _leads_back(document: Raw, index: int, route: Raw, redirect: str) -> bool:
    """Tell whether who follows a redirect comes back to its route, by a listener that has routes."""
    scheme, _, authority = redirect.partition("://")
    host, colon, port = authority.rpartition(":") if not authority.endswith("]") else (authority, "", "")
    host, port = (host, port) if colon else (authority, "")
    asked = any(
        "redirect" not in listener
        and scheme == ("https" if "tls" in listener else "http")
        and (not port or any(text.rpartition(":")[2] == port for _, text in bound(listener)))
        for _, listener in tables(document, "listeners")
    )
    path = route.get("path", "/")
    return asked and isinstance(path, str) and _route_of(document, host.lower(), path) == index


def _route_of(document: Raw, host: str, path: str) -> int | None:
    """Find the route that answers a host and path, as `hotswap.core.http.routing.Router` does."""
    found: list[tuple[int, int, int, int]] = []
    for index, route in entries(document, "routes"):
        prefix = route.get("path", "/")
        if not isinstance(prefix, str) or not f"{path}/".startswith(f"{prefix.rstrip('/')}/"):
            continue
        for name in [text.lower().removesuffix(".") for _, text in texts(route, "hosts")] or [""]:
            if name in ("", host):
                found.append((2 if name else 0, 0, len(prefix), -index))
            elif name.startswith("*.") and host.endswith(name[1:]) and host != name[1:]:
                found.append((1, len(name), len(prefix), -index))
    return -max(found)[3] if found else None


def _listed(names: list[str]) -> str:
    """List names, or the first of very many."""
    shown = ", ".join(map(written, names[:_MOST_NAMES]))
    return shown if len(names) <= _MOST_NAMES else f"{shown} and {len(names) - _MOST_NAMES} more"


def _pool(location: Location, pool: Raw) -> Iterator[Finding]:
    if "server" not in pool:
        return
    name = pool["server"]
    server = next((server for server in Server if server == name), None)
    if server is not None:
        yield from _server(location, pool, server)
    yield from _recycling(location, pool)
    compatibility = pool.get("compatibility")
    if isinstance(compatibility, Mapping):
        yield from _either((*location, "compatibility"), compatibility, "file", "command", 'file = "RESTART_EPOCH"')
        file = compatibility.get("file")
        if isinstance(file, str) and (os.path.isabs(file) or ".." in file.split("/")):
            yield Finding(
                (*location, "compatibility", "file"),
                file,
                "a path inside the pool's directory; it is the release that says it",
            )
    environment = pool.get("environment")
    for variable, value in environment.items() if isinstance(environment, Mapping) else ():
        here = (*location, "environment", variable)
        if variable in RESERVED_VARIABLES:
            yield Finding(here, value, "left out; hotswap sets this variable itself")
        elif not variable or "=" in variable or "\0" in variable:
            yield Finding(here, value, "a name without = and NUL")


def _recycling(location: Location, pool: Raw) -> Iterator[Finding]:
    recycle, rollout, storage = pool.get("recycle"), pool.get("rollout"), pool.get("storage")
    if not isinstance(recycle, Mapping) or all(value in _NEVER for value in recycle.values()):
        return
    here = (*location, "recycle")
    if isinstance(storage, Mapping) and storage.get("shared") is False:
        yield Finding(here, recycle, "left out with storage.shared = false; the old process has to end before another")
    elif pool.get("size") == 1 and not (isinstance(rollout, Mapping) and rollout.get("strategy") == "surge"):
        yield Finding(
            here,
            recycle,
            'left out, or size = 2, or rollout = { strategy = "surge" }; the one backend would be gone before another '
            "serves",
        )


_NEVER: Final = (0, "0s", "0B")
"""Limits that are none."""


def _server(location: Location, pool: Raw, server: Server) -> Iterator[Finding]:
    abilities = ABILITIES[server]
    if server is Server.COMMAND:
        if pool.get("command", []) == []:
            yield Finding(
                (*location, "command"),
                pool.get("command", MISSING),
                'a list, program and arguments, with server = "command"; '
                'add command = ["./serve", "--fd", "{fd}"], with what starts your server',
            )
        for key in _PRESET_ONLY:
            if pool.get(key, "") not in ("", []):
                yield Finding(
                    (*location, key),
                    pool[key],
                    'left out with server = "command"; what it would do is yours to write into command',
                )
        listen = pool.get("listen", abilities.listens[0])
        for index, text in texts(pool, "command"):
            for placeholder, kind in _PLACEHOLDERS.items():
                if placeholder in text and listen != kind:
                    wrong = f'without {placeholder} unless listen is "{kind}"; set listen = "{kind}"'
                    yield Finding((*location, "command", index), text, wrong)
        return
    if pool.get("app", "") == "":
        yield Finding(
            (*location, "app"),
            pool.get("app", MISSING),
            f'a string "module:attribute" with server = "{server}"; it names what is imported: '
            f'{"write" if "app" in pool else "add app ="} "shop.asgi:app", with the names of your app',
        )
    for index, argument in texts(pool, "args"):
        if refused := refused_argument(server, argument):
            yield Finding((*location, "args", index), argument, refused)
    if pool.get("command", []) != []:
        yield Finding(
            (*location, "command"),
            pool["command"],
            f'left out unless server is "command"; arguments for {server} belong into args',
        )
    for key, able in (("listen", abilities.listens), ("interface", abilities.interfaces)):
        word = pool.get(key)
        if isinstance(word, str) and word not in {str(one) for one in able} and word in _WORDS[key]:
            choice = " or ".join(written(str(one)) for one in able)
            wrong = f'{choice} with server = "{server}"; that is what it can do: write {written(str(able[0]))}'
            yield Finding((*location, key), word, wrong)


_WORDS: Mapping[str, frozenset[str]] = {
    "listen": frozenset(str(word) for ability in ABILITIES.values() for word in ability.listens),
    "interface": frozenset(str(word) for ability in ABILITIES.values() for word in ability.interfaces),
}
"""Words that are right for some server; others are reported by the model."""
