"""What passes between a connection of the admin API and the calls behind it: requests in, responses out."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

JSON = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminRequest:
    """A request whose head has been read.

    Attributes:
        method: as it was sent.
        path: decoded, without the query.
        segments: of the path, each decoded by itself, so that an encoded slash ends none.
        query: parameters; of one that comes more than once, the last.
        fields: of the head, by lower-case name; of one that comes more than once, all with commas between.
        address: the host of the TCP address that it arrived at; None over a Unix socket.
        body: all of it, for a call that takes something in it; read after the head was judged.
    """

    method: str
    path: str
    segments: tuple[str, ...] = ()
    query: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    address: str | None = None
    body: bytes = b""


def parse_request(
    method: bytes, target: bytes, fields: list[tuple[bytes, bytes]], *, address: str | None
) -> AdminRequest:
    """Read what h11 gave of a head; bytes that are not UTF-8 are replaced."""
    path, _, query = target.decode("ascii", "replace").partition("?")
    combined: dict[str, str] = {}
    for name, value in fields:
        key, text = name.decode("ascii"), value.decode("latin-1")
        combined[key] = f"{combined[key]}, {text}" if key in combined else text
    return AdminRequest(
        method=method.decode("ascii"),
        path=unquote(path),
        segments=tuple(map(unquote, path.split("/")[1:])),
        query=dict(parse_qsl(query, keep_blank_values=True)),
        fields=combined,
        address=address,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminResponse:
    """What is answered.

    Attributes:
        status: of the answer.
        media_type: of its body.
        body: all of it, or its pieces as they come; pieces are closed by whoever sends them.
        fields: further fields of the head.
    """

    status: int = 200
    media_type: str = JSON
    body: bytes | AsyncGenerator[bytes, None] = b""
    fields: Mapping[str, str] = field(default_factory=dict)


def respond(document: object, status: int = 200) -> AdminResponse:
    """Answer with a document of JSON."""
    return AdminResponse(status=status, body=write_json(document))


def write_json(document: object) -> bytes:
    """Give a document as compact JSON in UTF-8.

    Bytes of a path that are none travel as the escapes that Python has for them: a name that is not UTF-8 must not keep
    an operator from all the rest of the state.

    Raises:
        ValueError: a number is none (NaN, infinity), which JSON does not have.
    """
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")
