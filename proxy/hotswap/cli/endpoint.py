"""Finds the address of the running proxy: by option, environment, or configuration.

The models of the configuration are more than half of what a verb costs, so they are imported only when an `[admin]`
table has to be understood.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from hotswap.cli.exits import CommandError, ExitCode
from hotswap.control.configuration.path import find_configuration
from hotswap.core.address import Address, TcpAddress, UnixAddress, ip_of
from hotswap.core.errors import ConfigError

if TYPE_CHECKING:
    from hotswap.core.config import AdminTable

VARIABLE = "HOTSWAP_ADMIN"
TOKEN_VARIABLE = "HOTSWAP_ADMIN_TOKEN_FILE"
DEFAULT_PORT = 9900
DEFAULT_SOURCE = "the default of [admin].bind (no configuration was found)"
ALLOWED = "http://HOST[:PORT] or unix:/path"


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminEndpoint:
    """Addresses and token of an admin API.

    Attributes:
        addresses: its admin API; the first that answers is used.
        token: what it wants to be sent, or None.
        source: where this was found, for messages.
        assumed: nothing said where it is, so it is looked for at the default.
    """

    addresses: tuple[Address, ...]
    token: str | None
    source: str
    assumed: bool = False

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
    """Find the proxy: by `--admin`, then `$HOTSWAP_ADMIN`, then the `[admin]` table of the configuration.

    Args:
        admin: the option, if given.
        config: the configuration, if one was named.
        token_file: holds the token, if one was named.
        environ: where the variables are looked up.

    Raises:
        CommandError: what was given is not an address, or a file cannot be read.
    """
    if token_file is None and environ.get(TOKEN_VARIABLE):
        token_file = Path(environ[TOKEN_VARIABLE])
    for text, source in ((admin, "--admin"), (None if config else environ.get(VARIABLE), f"${VARIABLE}")):
        if text:
            try:
                address = parse_admin_url(text)
            except ValueError as error:
                raise CommandError(ExitCode.USAGE, f"{source} is {text!r}: {error}") from None
            if token_file is None:
                token_file = _own_token_file(address, config)
            return AdminEndpoint(addresses=(address,), token=_read_token(token_file), source=source)
    path = _find(config)
    assumed = path is None
    source = DEFAULT_SOURCE if path is None else f"[admin] of {path}"
    table = _understand(_read_admin(path), path)
    if token_file is None and table.token_file:
        token_file = Path(table.token_file)
    addresses = tuple(_reachable(address) for address in table.bind)
    if any(isinstance(address, TcpAddress) and address.port == 0 for address in addresses):
        hint = f"say where it is by --admin or ${VARIABLE}; the proxy logs it as admin.listening"
        raise CommandError(ExitCode.USAGE, f"{source} leaves the port of the admin API to the system", hint)
    return AdminEndpoint(addresses=addresses, token=_read_token(token_file), source=source, assumed=assumed)


def _own_token_file(address: Address, config: Path | None) -> Path | None:
    """Give the token file of the configuration if that is the one of the proxy at an address; nobody else is told."""
    try:
        path = _find(config)
        given = _read_admin(path)
        if not isinstance(given, Mapping) or not given.get("token_file"):
            return None
        table = _understand(given, path)
    except CommandError:
        return None
    ours = address in {_reachable(bound) for bound in table.bind}
    return Path(table.token_file) if ours and table.token_file else None


def _find(config: Path | None) -> Path | None:
    try:
        return find_configuration() if config is None else config
    except ConfigError:
        return None


def _read_admin(path: Path | None) -> Any:
    """Read the `[admin]` table of a file, unchecked: usually a table; nothing without a file."""
    if path is None:
        return {}
    try:
        # The table alone: a mistake elsewhere in the file must not hide a running proxy from its operator.
        return tomllib.loads(path.read_text(encoding="utf-8-sig")).get("admin", {})
    except (OSError, ValueError) as error:
        hint = f"say where the proxy is by --admin or ${VARIABLE}"
        raise CommandError(ExitCode.USAGE, f"{path} cannot be read: {error}", hint) from None


def _understand(given: Any, path: Path | None) -> AdminTable:
    from pydantic import ValidationError

    from hotswap.core.config import AdminTable
    from hotswap.core.config.fields import DIRECTORY

    # Without a file nothing in the table is relative to anything; the working directory may have been deleted.
    directory = "/" if path is None else str(path.absolute().parent)
    try:
        return AdminTable.model_validate(given, context={DIRECTORY: directory})
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise CommandError(ExitCode.USAGE, f"[admin] of {path} cannot be used: {problems}") from None


def _reachable(address: Address) -> Address:
    """Give the address to connect to for one that is listened on: the wildcard means loopback."""
    if isinstance(address, TcpAddress):
        ip = ip_of(address.host)
        if ip is not None and ip.is_unspecified:
            return TcpAddress("::1" if ip.version == 6 else "127.0.0.1", address.port)
    return address


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
