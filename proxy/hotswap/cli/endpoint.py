"""Finds the address of the running proxy: by option, environment, or configuration.

The models of the configuration would be more than half of what a verb costs, so what is needed of a file is read
without them.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hotswap.cli.exits import CommandError, ExitCode
from hotswap.control.configuration.path import absolute_path, find_configuration
from hotswap.control.configuration.state_place import ADMIN_SOCKET, possible_state_dirs
from hotswap.core.address import Address, TcpAddress, UnixAddress, parse_address, reachable
from hotswap.core.errors import ConfigError

if TYPE_CHECKING:
    import click  # `healthcheck` finds the proxy without it

VARIABLE = "HOTSWAP_ADMIN"
TOKEN_VARIABLE = "HOTSWAP_ADMIN_TOKEN_FILE"
DEFAULT_PORT = 9900
ALLOWED = "http://HOST[:PORT] or unix:/path"


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminEndpoint:
    """Addresses and token of an admin API.

    Attributes:
        addresses: where it may be; the first that answers for the configuration is used.
        token: what it wants to be sent, or None.
        source: where this was found, for messages.
        config: the absolute path of the configuration that its proxy has to run; None: it was named by its address.
    """

    addresses: tuple[Address, ...]
    token: str | None
    source: str
    config: Path | None = None

    @property
    def where(self) -> str:
        """Its addresses, for messages."""
        return " or ".join(map(str, self.addresses))


def parse_admin_url(text: str) -> Address:
    """Parse the value of `--admin`.

    Raises:
        ValueError: it is neither form.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        # unix:///path is what other programs call it.
        path = "/" + path.lstrip("/") if path.startswith("//") else path
        if not path:
            raise ValueError(f"a path is missing; allowed: {ALLOWED}")
        return UnixAddress(path)
    parts = urlsplit(text)
    if parts.scheme != "http" or not parts.hostname or parts.path not in {"", "/"} or parts.query:
        raise ValueError(f"allowed: {ALLOWED}")
    return TcpAddress(parts.hostname, parts.port or DEFAULT_PORT)


def find_endpoint(
    admin: str | None,
    config: Path | None,
    token_file: Path | None,
    *,
    environ: Mapping[str, str] = os.environ,
) -> AdminEndpoint:
    """Find the proxy: `--admin`, then $HOTSWAP_ADMIN, then the state directory of the configuration, then `[admin]`.

    Nothing is connected to. What is found without `--admin` may be another configuration's proxy, which
    `AdminEndpoint.config` is there to tell.

    Args:
        admin: the value of `--admin`.
        config: the value of `--config`; without it, it is looked for where `run` looks.
        token_file: the value of `--token-file`; without it, $HOTSWAP_ADMIN_TOKEN_FILE, then that of the configuration.
        environ: the variables.

    Raises:
        CommandError: what was given is not an address, or a file cannot be read.
    """
    if token_file is None and environ.get(TOKEN_VARIABLE):
        token_file = Path(environ[TOKEN_VARIABLE])
    for text, source in ((admin, "--admin"), (environ.get(VARIABLE), f"${VARIABLE}")):
        if text:
            try:
                address = parse_admin_url(text)
            except ValueError as error:
                raise CommandError(ExitCode.USAGE, f"{source} is {text!r}: {error}") from None
            if token_file is None:
                token_file = _own_token_file(address, config, environ)
            wanted = None if source == "--admin" else _find(config)
            return AdminEndpoint(
                addresses=(address,),
                token=_read_token(token_file),
                source=source,
                config=wanted and absolute_path(wanted),
            )
    path = _find(config)
    if path is None:
        hint = f"name its configuration by --config FILE, or its address by --admin or ${VARIABLE}"
        raise CommandError(ExitCode.FAILED, "no configuration is here that says where the proxy is", hint)
    path = absolute_path(path)
    table = _read_admin(path, environ)
    if token_file is None:
        token_file = table.token_file
    addresses = _addresses(table)
    return AdminEndpoint(addresses=addresses, token=_read_token(token_file), source=str(path), config=path)


def _addresses(table: _Admin) -> tuple[Address, ...]:
    """Give where the proxy may answer, the likeliest first; of what is only possible, what exists."""
    likely, *possible = table.sockets
    sockets = [likely, *(path for path in possible if os.path.exists(path))]
    return tuple(dict.fromkeys([*map(UnixAddress, sockets), *table.bind]))


def _own_token_file(address: Address, config: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Give the token file of the configuration if that is the one of the proxy at an address; nobody else is told."""
    try:
        path = _find(config)
        table = None if path is None else _read_admin(absolute_path(path), environ)
    except CommandError:
        return None
    if table is None or table.token_file is None:
        return None
    return table.token_file if address in {*map(UnixAddress, table.sockets), *table.bind} else None


def _find(config: Path | None) -> Path | None:
    try:
        return find_configuration() if config is None else config
    except ConfigError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Admin:
    """What a file says of where its proxy answers.

    Attributes:
        sockets: paths at which it may be, the likeliest first.
        bind: the addresses of `[admin].bind` that can be connected to.
        token_file: what its callers have to send.
    """

    sockets: tuple[str, ...]
    bind: tuple[Address, ...] = ()
    token_file: Path | None = None


def _read_admin(path: Path, environ: Mapping[str, str]) -> _Admin:
    """Read what a file says of the admin API, and nothing else of it.

    A mistake elsewhere in the file must not hide a running proxy from its operator, nor one that makes it no TOML where
    the proxy is found without.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        sockets = _sockets(path, "", environ)
        if any(map(os.path.exists, sockets)):
            return _Admin(sockets=sockets)
        hint = f"say where the proxy is by --admin or ${VARIABLE}"
        reason = error.strerror if isinstance(error, OSError) else error
        raise CommandError(ExitCode.USAGE, f"{path} cannot be read: {reason}", hint) from None
    proxy, admin = document.get("proxy", {}), document.get("admin", {})
    given = proxy.get("state_dir", "") if isinstance(proxy, dict) else ""
    sockets = _sockets(path, given if isinstance(given, str) else "", environ)
    try:
        token_file = admin.get("token_file", "")
        bound = [_reachable(parse_address(text), path.parent) for text in admin.get("bind", ())]
    except (AttributeError, TypeError, ValueError) as error:
        message = f"[admin] of {path} cannot be used: {error}"
        hint = f'"hotswap check {path}" says what is wrong; the proxy can be named by --admin'
        raise CommandError(ExitCode.USAGE, message, hint) from None
    usable = tuple(one for one in bound if not (isinstance(one, TcpAddress) and one.port == 0))
    return _Admin(
        sockets=sockets,
        bind=usable,
        token_file=path.parent / token_file if isinstance(token_file, str) and token_file else None,
    )


def _sockets(path: Path, state_dir: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(os.path.join(place, ADMIN_SOCKET) for place in possible_state_dirs(path, state_dir, environ))


def _reachable(address: Address, directory: Path) -> Address:
    """Give the address to connect to for one of a file in a directory."""
    if isinstance(address, UnixAddress):
        return UnixAddress(os.path.normpath(directory / address.path))
    return reachable(address)


def _read_token(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        with path.open(encoding="latin-1") as stream:
            return stream.readline(4096).strip()
    except OSError as error:
        message = f"the token of the admin API cannot be read from {path}: {error.strerror}"
        raise CommandError(ExitCode.FAILED, message, "run this as the user that may read it") from None


@dataclass(slots=True, kw_only=True)
class Options:
    """Options of every verb that speaks to a proxy, kept in click's context."""

    admin: str | None = None
    config: Path | None = None
    token_file: Path | None = None

    def endpoint(self) -> AdminEndpoint:
        """Find the proxy."""
        return find_endpoint(self.admin, self.config, self.token_file)


def note_option(context: click.Context, parameter: click.Parameter, value: object) -> object:
    """Keep the value of an option that is the same for every verb."""
    if value is not None and parameter.name:
        setattr(context.ensure_object(Options), parameter.name, value)
    return value
