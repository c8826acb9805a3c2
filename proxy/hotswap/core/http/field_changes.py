"""Changes that a route makes to the fields of its responses: its key `headers`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from hotswap.core.errors import written
from hotswap.core.http.field_names import CONNECTION_FIELDS
from hotswap.core.http.messages import TOKEN, VALUE, Head

_FRAMING: Final = CONNECTION_FIELDS | {b"content-length"}
_MANY: Final = frozenset((b"set-cookie",))
"""Fields of which each line stands for itself: one of ours takes none of the app's away."""

STRICT_TRANSPORT: Final = b"strict-transport-security"


class FieldChanges:
    """Fields that are set, or removed, in every response.

    Args:
        headers: names and values; an empty value removes the field. `Set-Cookie` is added to those that there are.
    """

    __slots__ = ("_lines", "_names")

    def __init__(self, headers: Mapping[str, str]) -> None:
        named = [(name.encode("ascii"), value.strip(" \t").encode()) for name, value in headers.items()]
        self._lines = [b"%b: %b\r\n" % (name, value) for name, value in named if value]
        self._names = frozenset(lower for name, value in named if (lower := name.lower()) not in _MANY or not value)

    def apply(self, head: Head) -> None:
        """Change the fields of a response."""
        names = self._names
        head.lines = [line for line in head.lines if line.partition(b":")[0].lower() not in names]
        head.lines += self._lines


def find_wrong_fields(headers: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Find the fields that cannot be set.

    Yields:
        The name, and what is allowed instead.
    """
    seen: dict[str, str] = {}
    for name, value in headers.items():
        if not name or name.encode().translate(None, TOKEN):
            yield name, "left out; the name of a field is made of letters, digits, - and _"
        elif name.lower().encode() in _FRAMING:
            yield name, "left out; the field belongs to one connection, and hotswap writes it itself"
        elif name.lower() in seen:
            yield name, f"left out; it is the same field as {seen[name.lower()]}"
        elif isinstance(value, str) and (wrong := value.encode("utf-8", "replace").translate(None, VALUE)):
            good = value.partition(wrong[:1].decode())[0]
            yield name, f"text without line breaks and other control characters; write {written(good)}"
        seen.setdefault(name.lower(), name)


def write_hsts(seconds: float) -> bytes:
    """The line that tells browsers to come by HTTPS only for so long (RFC 6797 6.1); empty for no time."""
    return b"Strict-Transport-Security: max-age=%d\r\n" % seconds if seconds >= 1 else b""
