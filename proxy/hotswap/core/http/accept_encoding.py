"""Reads `Accept-Encoding`: which content codings a client takes, and which of them it likes best (RFC 9110 12.5.3).

The field is read once for each of its values, of which browsers have few; a long one is none, and one that is wrong in
a member is read without that member.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from hotswap.core.memory import Memory

if TYPE_CHECKING:
    from hotswap.core.http.messages import RequestHead

MAX_FIELD: Final = 512
"""Bytes of the field at most: no client has so much to say of codings."""
_MEMBER: Final = re.compile(
    rb"[ \t]*+([!#$%&'*+.^_`|~0-9A-Za-z-]++)[ \t]*+(?:;[ \t]*+[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*+)?"
)
_ALIASES: Final = {b"x-gzip": b"gzip", b"x-compress": b"compress"}
"""Older names that mean the same (RFC 9110 8.4.1)."""


def _parse(field: bytes) -> Mapping[bytes, float]:
    weights: dict[bytes, float] = {}
    if len(field) > MAX_FIELD:
        return weights
    for member in field.split(b","):
        match = _MEMBER.fullmatch(member)
        if match is not None:
            name = match[1].lower()
            weights[_ALIASES.get(name, name)] = 1.0 if match[2] is None else float(match[2])
    return weights


parse_weights: Final = Memory(_parse, entries=256, key_bytes=128).__getitem__
"""The weight of each coding that a value of `Accept-Encoding` names, by its lower-case name; `*` and `identity` too."""


def accepted_codings(head: RequestHead) -> Mapping[bytes, float]:
    """Weights of the codings that a request names, from 0 (refused) to 1; empty where it names none."""
    field = None
    for line in head.lines:
        if line[:17].lower() == b"accept-encoding: ":
            field = line[17:-2] if field is None else b"%b,%b" % (field, line[17:-2])
    return _NOTHING if field is None else parse_weights(field)


def choose_coding(weights: Mapping[bytes, float], offered: Sequence[bytes]) -> bytes | None:
    """Choose the coding of an answer.

    Args:
        weights: what the client says, as `accepted_codings` gives it.
        offered: the codings that there are, the best one first; of equal weight, it is taken.

    Returns:
        One of those offered, or None: as it is. That also where the client refuses that (`identity;q=0`) and everything
        offered, since an answer that it may not read is better than none. `*` alone stands for what every client
        knows, which is gzip.
    """
    best, most = None, 0.0
    for coding in offered:
        weight = weights.get(coding, 0.0)
        if weight > most:
            best, most = coding, weight
    if best is None and weights.get(b"*", 0.0) > 0 and b"gzip" in offered and b"gzip" not in weights:
        best, most = b"gzip", weights[b"*"]
    return None if weights.get(b"identity", 0.0) > most else best


_NOTHING: Final[Mapping[bytes, float]] = {}
