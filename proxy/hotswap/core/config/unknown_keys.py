"""Unknown keys: where a key would be right that the table does not have, and what it was meant to be."""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from typing import Annotated, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from hotswap.core.config.bind import SOCKET, SocketTable
from hotswap.core.config.configuration import Configuration
from hotswap.core.config.descriptions import descriptions_of
from hotswap.core.config.key_lines import Location
from hotswap.core.config.listeners import ListenerTable
from hotswap.core.config.pools import STATIC, SUPERVISED, StaticPoolTable, SupervisedPoolTable
from hotswap.core.config.spelling import nearest

_KINDS: Mapping[str | int, type[BaseModel]] = {
    SOCKET: SocketTable,
    SUPERVISED: SupervisedPoolTable,
    STATIC: StaticPoolTable,
}

_CERTIFICATES = 'certificates = [{ cert = "FILE", key = "FILE" }] in [listeners.NAME.tls]'
_SIZE = "the number of processes of an app is size in [pools.NAME]"
_BIND = 'the address is one text, host and port: bind = ["127.0.0.1:8000"]'
_FIELDS = 'fields of responses are set for a route: headers = { X-Frame-Options = "DENY" } in [[routes]]'
_COMPRESS = "answers are compressed, unless there is compress = false in [listeners.NAME] or [[routes]]"
_HSTS = 'it is hsts = "365d" in [listeners.NAME.tls]'
_ADD_HEADER = "add_header response_headers header set_header"
_ENCODE = "gzip zstd brotli encode compression deflate"
_STRICT = "strict_transport_security"


_USERS = 'it is called basic_auth, and is a file of user:hash lines, which "htpasswd -cB -C 10 FILE NAME" makes'
_RATE = 'it is called rate, with burst beside it: rate = "10/s"'
_REDIRECT = 'it is called redirect, and is scheme and host: redirect = "https://example.org"'


def _networks(key: str) -> str:
    return f'it is called {key}, and is a list of networks: {key} = ["10.0.0.0/8"]'


_FILES = 'it is called files: files = "staticfiles" is in each release, files = "/srv/media" is one directory'
_WAITS = "it is called response_timeout until the answer begins, and idle_timeout from then on"
_BUFFER = "it is a key of a pool: buffer = true in [pools.NAME], and what an app answers it may exempt by itself"
_SPOOL = "it is called spool, and is a size: the files are in proxy.state_dir"
_SENDFILE = 'it is called sendfile, and is a table: sendfile = { "/protected/" = "/srv/private" }'


def _all(words: str, meant: str) -> dict[str, str]:
    return dict.fromkeys(words.split(), meant)


_ADDRESSES = ("backends", "servers", "upstream", "upstreams", "url", "urls", "address")
"""What others call the addresses of a pool."""

_MEANT: Mapping[str, Mapping[str, str]] = {
    "proxy": {
        **_all("workers processes worker_processes threads", _SIZE),
        **_all("listen port host bind", "addresses are bind in [listeners.NAME]"),
        **_all("timeout", "it is called shutdown_timeout"),
        **_all("pid pid_file pidfile", 'nothing needs one, and "hotswap stop" ends the proxy'),
    },
    "listeners": {
        **_all("port host address listen", _BIND),
        **_all("certificates certificate cert key ssl ssl_certificate ssl_certificate_key", _CERTIFICATES),
        **_all("https secure", f"TLS is made of certificates: {_CERTIFICATES}"),
        **_all("client_max_body_size max_body_size", "it is called body_bytes, in [listeners.NAME.limits]"),
        **_all(
            "mode owner group umask socket_mode",
            'in the entry of its socket: bind = [{ path = "/run/shop.sock", mode = "0660" }]',
        ),
        **_all("redirect_https https_redirect", "a listener that only redirects has redirect = {}"),
        **_all(
            "headers",
            f"{_FIELDS}; how many fields a request may have is headers in [listeners.NAME.limits]",
        ),
        **_all(_ADD_HEADER, _FIELDS),
        **_all(_ENCODE, _COMPRESS),
        **_all(_STRICT, _HSTS),
        **_all("hosts server_name server_names path", "host names and paths are hosts and path in [[routes]]"),
    },
    "bind": {
        **_all("user uid", "it is called owner"),
        **_all("gid", "it is called group"),
        **_all("permissions perm chmod umask", 'it is called mode: mode = "0660"'),
    },
    "admin": {
        **_all("port host address listen", 'the address is one text, host and port: bind = ["127.0.0.1:9900"]'),
        **_all("token password secret", "it is called token_file, and names a file whose first line is the token"),
    },
    "health": {
        **_all("status statuses code codes", 'it is called expect, and is a string: expect = "200-399"'),
        **_all("url uri endpoint", 'it is called path: path = "/healthz"'),
    },
    "tls": {
        **_all("cert key certificate cert_file key_file", _CERTIFICATES),
        **_all(_STRICT, 'it is called hsts: hsts = "365d"'),
    },
    "routes": {
        **_all("backend upstream proxy_pass to target", 'it is called pool, and is a name: pool = "NAME"'),
        **_all("prefix location", "it is called path"),
        **_all("host server_name domain domains", 'they are called hosts: hosts = ["example.org"]'),
        **_all("websocket websockets", "WebSocket needs no key"),
        **_all("static root alias document_root static_root static_dir staticfiles file_server directory", _FILES),
        **_all("try_files spa index not_found", 'it is called fallback: files = "dist", fallback = "index.html"'),
        **_all("client_max_body_size max_body_size request_body_max", 'it is called body_bytes: body_bytes = "50MiB"'),
        **_all("proxy_read_timeout read_timeout timeout", _WAITS),
        **_all("proxy_send_timeout send_timeout client_body_timeout write_timeout", "it is called idle_timeout"),
        **_all("proxy_buffering proxy_request_buffering buffering buffer", _BUFFER),
        **_all("strip strip_path stripprefix handle_path script_name root_path", "it is called strip_prefix = true"),
        **_all(_ADD_HEADER, _FIELDS),
        **_all(_ENCODE, _COMPRESS),
        **_all(f"hsts {_STRICT}", _HSTS),
        **_all("access_log", "a route whose requests are not to be logged has log = false"),
        **_all("auth_basic auth_basic_user_file basicauth htpasswd auth users auth_users", _USERS),
        **_all("limit_req rate_limit ratelimit limit throttle requests_per_second", _RATE),
        **_all("return rewrite redir redirect_to location_redirect permanent_redirect", _REDIRECT),
        **_all("allow_ips allowed_ips allow_from allowlist whitelist ip_allow ipallowlist", _networks("allow")),
        **_all("deny_ips denied_ips deny_from denylist blacklist blocked_ips ip_deny block", _networks("deny")),
    },
    "pools": {
        **_all("workers processes instances replicas count threads", "the number of processes is size"),
        **dict.fromkeys(_ADDRESSES, "it is called addresses"),
        **_all(
            "timeout",
            "which is it: start_timeout, drain_timeout, stop_timeout, hold_timeout, response_timeout or health.timeout",
        ),
        **_all("env_file envfile", "it is called environment_file"),
        **_all("healthcheck health_check", 'it is a table: health = { path = "/healthz" }'),
        **_all("env variables", 'variables are a table, environment = { NAME = "value" }'),
        **_all("cwd workdir working_directory chdir root path", "it is called directory"),
        **_all("module application wsgi target", 'it is called app: app = "module:attribute"'),
        **_all("venv virtualenv interpreter", "it is called python, and is the interpreter in there"),
        **_all("proxy_buffering proxy_request_buffering buffering", "it is called buffer"),
        **_all("client_body_temp_path proxy_temp_path proxy_max_temp_file_size temp_path", _SPOOL),
        **_all(
            "error_page maintenance pages", "it is called error_pages, and is a directory with 502.html, 503.html …"
        ),
        **_all("x_accel_redirect x_sendfile xsendfile internal", _SENDFILE),
        **_all("static files alias media", "files are answered by a route: files = in [[routes]]"),
        **_all("cmd exec run", 'it is called command, and is a list, with server = "command"'),
        **_all(_ADD_HEADER, _FIELDS),
        **_all(_ENCODE, _COMPRESS),
        **_all("port host bind", "hotswap makes the sockets of backends; clients connect to [listeners.NAME]"),
    },
}
"""What users of other servers write, by the kind of table, and what it is called here."""

_MISTAKEN = frozenset({("redirect", "port"), ("health", "host"), ("health", "timeout")})
"""Keys of inner tables that are not meant where they stand one table higher."""


def unknown_key(location: Location, place: Location, value: object) -> str:
    """Say what is to be done with a key that its table does not have.

    Args:
        location: the key, with pydantic's mark of the kind of pool.
        place: the same, as it is in the file.
        value: what was given.
    """
    *above, last = location
    key, table = str(last), tuple(above)
    model = _table_at(table)
    if model is None:
        return "left out; it is unknown here"
    if table[:1] == ("pools",) and len(table) == 3:
        other = StaticPoolTable if model is SupervisedPoolTable else SupervisedPoolTable
        if key == "addresses":
            return "left out; a pool has either addresses (something else runs the backends) or server (hotswap does)"
        if key in other.model_fields:
            return "left out; only a supervised pool, one with server in place of addresses, has this key"
    for name, field in model.model_fields.items():
        inner = _model_of(field.annotation)
        if (
            inner is not None
            and key in inner.model_fields
            and (name, key) not in _MISTAKEN
            and _fits(inner, key, value)
        ):
            return f"in [{_header((*place[:-1], name))}]"
    for length in range(len(table) - 1, 0, -1):
        outer = _table_at(table[:length])
        if outer is not None and key in outer.model_fields and _fits(outer, key, value):
            home = place[:length] if table[0] != "pools" or length < 3 else place[: length - 1]
            return f"in [{_header(home)}], above the tables inside it"
    owner = "[[routes]]" if place[0] == "routes" else f"[{_header(place[:-1])}]" if place[:-1] else "the file"
    meant = _MEANT.get(_kind_of(place[:-1]), {}).get(key.lower())
    if key in _ADDRESSES and meant == "it is called addresses" and _fits(StaticPoolTable, "addresses", value):
        return "spelt addresses"
    if meant is not None:
        if place[0] in ("listeners", "pools"):
            meant = meant.replace(f"[{place[0]}.NAME", f"[{_header(place[:2])}")
        return f"left out; {owner} has no key of this name: {meant}"
    near = nearest(key, model.model_fields)
    if near:
        return f"spelt {' or '.join(near)}"
    homes = _homes(key, value)
    return f"in {' or '.join(homes)}" if homes else f"left out; {owner} has no key of this name"


def find_misnamed(pool: object) -> list[str]:
    """Give the keys of a pool that are its addresses by another name."""
    return [key for key in _ADDRESSES if isinstance(pool, Mapping) and key in pool]


def keys_of(tables: str) -> set[str]:
    """Give the keys of the named tables that a table has, those of both kinds of pool."""
    kinds = (ListenerTable,) if tables == "listeners" else (SupervisedPoolTable, StaticPoolTable)
    return {key for kind in kinds for key in kind.model_fields}


def describe_key(location: Location) -> str:
    """Give the first sentence of what a key means; the location has pydantic's mark of the kind of pool."""
    model = _table_at(location[:-1])
    text = descriptions_of(model).get(str(location[-1]), "") if model is not None else ""
    sentence = re.split(r"[.;]\s", text)[0].rstrip(".")
    return sentence[:1].lower() + sentence[1:]


def _kind_of(table: Location) -> str:
    """Name what a table is: the key of the last table that is not the name of a listener or pool, or an index."""
    if len(table) == 2 and table[0] in ("listeners", "pools", "routes"):
        return str(table[0])
    if table[2:3] == ("bind",):
        return "bind"
    return str(table[-1]) if table else ""


def _homes(key: str, value: object) -> list[str]:
    """Name the tables of the whole file that have a key."""
    homes = []
    for name, field in Configuration.model_fields.items():
        model = _model_of(field.annotation)
        if model is not None and key in model.model_fields and _fits(model, key, value):
            homes.append(f"[{name}]")
    for header, model in _NAMED.items():
        if key in model.model_fields and _fits(model, key, value):
            homes.append(header)
    return homes


def _fits(model: type[BaseModel], key: str, value: object) -> bool:
    """Tell whether a key would be right in a table with the value that it has."""
    try:
        model.model_validate({key: value})
    except ValidationError as error:
        return not any(key in one["loc"] for one in error.errors(include_url=False))
    return True


def _header(table: Location) -> str:
    parts = (part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else f'"{part}"' for part in table if isinstance(part, str))
    return ".".join(parts)


def _table_at(location: Location) -> type[BaseModel] | None:
    """Find the model of the table at a place, by the annotations from the top down."""
    annotation: object = Configuration
    for index, part in enumerate(location):
        is_kind = (index, location[0]) in ((2, "pools"), (4, "listeners")) and location[2] != "tls"
        annotation = _KINDS.get(part) if is_kind else _step(annotation, part)
    return _model_of(annotation)


def _step(annotation: object, part: str | int) -> object:
    model = _model_of(annotation)
    if model is not None:
        field = model.model_fields.get(str(part))
        return field.annotation if field is not None else None
    inner = get_args(annotation)
    if get_origin(annotation) is dict:
        return inner[1]
    return inner[0] if get_origin(annotation) is tuple else None


def _model_of(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Annotated, Union, types.UnionType):
        models = (_model_of(inner) for inner in get_args(annotation))
        return next((model for model in models if model is not None), None)
    return None


_NAMED: Mapping[str, type[BaseModel]] = {
    f"[{name}.NAME]" if name != "routes" else "[[routes]]": model
    for name in ("listeners", "routes", "pools")
    if (model := _model_of(get_args(Configuration.model_fields[name].annotation)[0 if name == "routes" else 1]))
}
"""Models of the tables of which there may be several, by their header; of pools the supervised kind."""
