"""Conditions of a request for a file (RFC 9110 13), and the part of it that is asked for (RFC 9110 14)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hotswap.core.http.messages import RequestHead

MAX_DATE: Final = 64
"""Bytes of a date: longer ones are none."""
_TAG: Final = re.compile(rb'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')
_RANGE: Final = re.compile(rb"bytes=[ \t]{0,8}([0-9]{0,18})-([0-9]{0,18})[ \t]{0,8}", re.IGNORECASE)


class Verdict(StrEnum):
    """What becomes of a request; the value is what is answered."""

    WHOLE = "200"
    PART = "206"
    UNCHANGED = "304"
    FAILED = "412"
    OUTSIDE = "416"


@dataclass(frozen=True, slots=True)
class FileRequest:
    """The fields of a request that choose among the answers for a file; empty ones are not there."""

    accept_encoding: bytes = b""
    if_match: bytes = b""
    if_none_match: bytes = b""
    if_modified_since: bytes = b""
    if_unmodified_since: bytes = b""
    if_range: bytes = b""
    range: bytes = b""


NOTHING_ASKED: Final = FileRequest()
_FIELDS: Final = {name.replace("_", "-").encode(): name for name in FileRequest.__slots__}
_FIRST_LETTERS: Final = frozenset(b"aAiIrR")


def asked_of(head: RequestHead) -> FileRequest:
    """Read those fields; several lines of one name are a list (RFC 9110 5.3)."""
    said: dict[str, bytes] | None = None
    for line in head.lines:
        if line[0] in _FIRST_LETTERS:
            name, _, value = line.partition(b":")
            key = _FIELDS.get(name.lower())
            if key is not None:
                if said is None:
                    said = {}
                value = value.strip()
                said[key] = said[key] + b", " + value if key in said else value
    return NOTHING_ASKED if said is None else FileRequest(**said)


def judge(asked: FileRequest, *, etag: bytes, modified: int, modified_text: bytes) -> Verdict:
    """Evaluate the preconditions of a GET or HEAD in the order of RFC 9110 13.2.2; a range is another question.

    Args:
        asked: what the request says.
        etag: entity tag of the representation, with its quotes; a weak one begins with `W/`.
        modified: its last modification, in whole seconds since 1970.
        modified_text: the same as Last-Modified says it.

    Returns:
        `WHOLE`, `UNCHANGED` or `FAILED`.
    """
    if asked.if_match:
        if not _names(asked.if_match, etag, weak=False):
            return Verdict.FAILED
    elif asked.if_unmodified_since:
        since = _seconds(asked.if_unmodified_since, modified, modified_text)
        if since is not None and modified > since:
            return Verdict.FAILED
    if asked.if_none_match:
        if _names(asked.if_none_match, etag, weak=True):
            return Verdict.UNCHANGED
    elif asked.if_modified_since:
        since = _seconds(asked.if_modified_since, modified, modified_text)
        if since is not None and modified <= since:
            return Verdict.UNCHANGED
    return Verdict.WHOLE


def part_of(asked: FileRequest, *, size: int, etag: bytes, modified_text: bytes) -> tuple[Verdict, int, int]:
    """Decide which bytes are answered.

    What is no single range of bytes is answered whole, as RFC 9110 14.2 allows: so are several ranges, and one of a
    representation that `If-Range` does not name.

    Returns:
        `WHOLE`, `PART` or `OUTSIDE`, the first byte, and the one behind the last.
    """
    whole = Verdict.WHOLE, 0, size
    if asked.if_range and (asked.if_range not in (etag, modified_text) or asked.if_range.startswith(b"W/")):
        return whole
    match = _RANGE.fullmatch(asked.range)
    if match is None:
        return whole
    first, last = match.groups()
    if not first:
        if not last:
            return whole
        begin, end = max(0, size - int(last)), size
    else:
        begin, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < begin:
            return whole
    if begin >= end:
        return Verdict.OUTSIDE, 0, 0
    return Verdict.PART, begin, end


def _names(tags: bytes, etag: bytes, *, weak: bool) -> bool:
    """Whether a list of entity tags has this one; weakly, or both being strong (RFC 9110 8.8.3.2)."""
    if tags.strip() == b"*":
        return True
    ours = _TAG.fullmatch(etag)
    if ours is None or (ours[1] and not weak):
        return False
    return any(tag == ours[2] and (weak or not is_weak) for is_weak, tag in _TAG.findall(tags))


def _seconds(date: bytes, modified: int, modified_text: bytes) -> int | None:
    """A date in seconds since 1970; None for what is none, which is as if it were not there."""
    if date == modified_text:
        return modified
    if len(date) > MAX_DATE:
        return None
    try:
        parsed = parsedate_tz(date.decode("ascii"))
        return None if parsed is None else int(mktime_tz(parsed))
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
