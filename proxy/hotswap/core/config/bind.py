"""Entries of `[listeners.NAME].bind`: addresses, and paths of Unix sockets with their permissions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    PlainSerializer,
    PlainValidator,
    Tag,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from hotswap.core.address import UnixAddress
from hotswap.core.config.fields import AddressField, Table, at_least_one, resolve_address
from hotswap.core.socket_permissions import SocketPermissions

ADDRESS = "address"
SOCKET = "socket"
"""Kinds of entries, as pydantic has them in the places of its errors."""

SPELLINGS = ("path", "unix", "address")
"""What the path of a Unix socket may be called in its table."""

SHARED = 0o660
"""The mode of a socket that is given to an owner or a group, unless another is asked for."""

MODE_ALLOWED = 'permission bits as chmod takes them, in quotes, such as "0660"'
MODE_PATTERN = "^(0?[0-7]{3})?$"
ACCOUNT_ALLOWED = "a name or a number"
SOCKET_PATH_ALLOWED = 'the path of a Unix socket, such as "/run/shop.sock"'


def _parse_mode(value: object) -> int | None:
    if value is None or value == "":
        return None
    text = value if isinstance(value, str) else ""
    if re.fullmatch(r"0?[0-7]{3}", text):
        return int(text, 8)
    meant = text.removeprefix("0o").lstrip("0").rjust(3, "0")
    if isinstance(value, int) and not isinstance(value, bool):
        # TOML has numbers of base 8 too; what is more than 0o777 was written as digits.
        meant = f"{value:03o}" if 0 <= value <= 0o777 else str(value)
    hint = f'; write "0{meant}"' if re.fullmatch(r"[0-7]{3}", meant) else ""
    raise ValueError(MODE_ALLOWED + hint)


def _parse_account(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return str(value)
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(ACCOUNT_ALLOWED)
    return value


def _parse_path(value: object, info: ValidationInfo) -> UnixAddress:
    if isinstance(value, UnixAddress):
        return value
    if not isinstance(value, str) or not value:
        raise ValueError(SOCKET_PATH_ALLOWED)
    if re.fullmatch(r"(?!unix:)[^/]*:[0-9]+", value):
        raise ValueError(f"{SOCKET_PATH_ALLOWED}; a port has neither mode nor owner: leave it a string of the list")
    address = resolve_address(f"unix:{value.removeprefix('unix:')}", info)
    assert isinstance(address, UnixAddress)
    return address


Mode = Annotated[
    int | None,
    PlainValidator(_parse_mode),
    PlainSerializer(lambda mode: "" if mode is None else f"{mode:04o}", return_type=str),
    WithJsonSchema({"type": "string", "pattern": MODE_PATTERN}),
]
"""Permission bits, or None."""

Account = Annotated[str, PlainValidator(_parse_account), WithJsonSchema({"type": ["string", "integer"]})]
"""Name or number of a user or a group, or empty."""

SocketPath = Annotated[
    UnixAddress,
    PlainValidator(_parse_path),
    PlainSerializer(lambda address: address.path, return_type=str),
    WithJsonSchema({"type": "string", "format": "path"}),
]
"""The path of a Unix socket, with `unix:` before it or without."""


class SocketTable(Table):
    """A Unix socket, and who may connect to it."""

    path: SocketPath
    """Where it is; `unix` and `address` mean the same."""

    mode: Mode = None
    """Permission bits, such as "0660": whoever may write may connect. Empty: as the umask of the proxy has them, and
    "0660" with an owner or a group."""

    owner: Account = ""
    """User that it belongs to, by name or number; empty: the one that starts the proxy. Another needs root."""

    group: Account = ""
    """Group that it belongs to, by name or number; empty: that of the proxy. One of its user's, or any for root."""

    @model_validator(mode="before")
    @classmethod
    def _respell(cls, table: Any) -> Any:
        if isinstance(table, Mapping) and "path" not in table:
            other = next((name for name in SPELLINGS if name in table), "path")
            return {("path" if name == other else name): value for name, value in table.items()}
        return table

    @property
    def permissions(self) -> SocketPermissions:
        """What is asked for."""
        shared = SHARED if self.mode is None and (self.owner or self.group) else self.mode
        return SocketPermissions(mode=shared, owner=self.owner, group=self.group)


def _kind(entry: Any) -> str:
    return SOCKET if isinstance(entry, Mapping | SocketTable) else ADDRESS


BindField = Annotated[
    Annotated[AddressField, Tag(ADDRESS)] | Annotated[SocketTable, Tag(SOCKET)],
    Discriminator(_kind),
]

Bind = Annotated[
    tuple[BindField, ...],
    AfterValidator(at_least_one),
    Field(json_schema_extra={"minItems": 1}),
]
"""One address or more."""


def address_in(entry: object) -> str:
    """Give the address of an entry as it stands in a file, as a text; empty where it is none."""
    if isinstance(entry, Mapping):
        path = next((entry[name] for name in SPELLINGS if name in entry), None)
        return f"unix:{path.removeprefix('unix:')}" if isinstance(path, str) else ""
    return entry if isinstance(entry, str) else ""
