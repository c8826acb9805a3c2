"""Credentials of the Basic authentication scheme (RFC 7617)."""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hotswap.core.http.messages import RequestHead

LONGEST: Final = 1024
"""Bytes of a field that is looked at."""

_FIELD: Final = b"authorization: "
_CONTROLS: Final = bytes((*range(0x20), 0x7F))


@dataclass(frozen=True, slots=True)
class BasicCredentials:
    """Who somebody says to be.

    Attributes:
        user: the name, without a colon.
        password: as UTF-8 where the client follows what it is asked for.
    """

    user: str
    password: bytes


def authorization_of(head: RequestHead) -> bytes | None:
    """The value of the one field `Authorization` of a request; None where there is none, several, or a long one.

    Of several, nobody knows which one the backend would believe.
    """
    told = [line for line in head.lines if line[: len(_FIELD)].lower() == _FIELD]
    if len(told) != 1:
        return None
    value = told[0][len(_FIELD) : -2]
    return value if len(value) <= LONGEST else None


def parse_basic(value: bytes) -> BasicCredentials | None:
    """Parse a value of `Authorization`; None for another scheme and for what RFC 7617 does not allow."""
    scheme, _, encoded = value.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        text = binascii.a2b_base64(encoded.lstrip(b" "), strict_mode=True)
        name, colon, password = text.partition(b":")
        user = name.decode()
    except ValueError:
        return None
    if not colon or len(text.translate(None, _CONTROLS)) != len(text):
        return None
    return BasicCredentials(user, password)
