"""One line for each exchange, as JSON or in the combined format of Apache and nginx.

A line is written for every exchange, so the common case is one f-string and one scan; only a field with a
byte that has to be escaped pays for escaping. What a client sent can never end a line, close a string, or
reach a terminal as a control sequence: everything outside printable ASCII, quotes and backslashes are escaped
(CWE-117).

Secrets: fields of the request such as `Authorization` and `Cookie` are never logged. The target is logged
with its query, because without it a line rarely explains anything, but the values of query parameters whose
names say that they are credentials are replaced by `***` (CWE-532).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from json import dumps
from typing import Final

_SAFE: Final = bytes(byte for byte in range(0x20, 0x7F) if byte not in b'"\\')
_SECRETS: Final = re.compile(
    rb"([?&;](?:(?:access|auth|id|refresh|csrf|session)?[_-]?token|(?:api|access|secret|private)?[_-]?key"
    rb"|(?:client[_-]?)?secret|password|passwd|pwd|auth|authorization|code|credential|jwt|assertion|sig"
    rb"|signature|session(?:id)?|sid|x-amz-(?:signature|credential|security-token))=)[^&;]*",
    re.IGNORECASE,
)
_VERSIONS: Final = {10: b"1.0", 11: b"1.1", 20: b"2"}
_QUESTION_MARK: Final = 0x3F
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_LINE: Final = (
    b'{"time":"%b",%b,"method":"%b","host":"%b","target":"%b","version":"%b"'
    b',"status":%d,"request_bytes":%d,"response_bytes":%d,"duration":%.3f,%b'
    b',"upstream_duration":%b,"retries":%d,"held":%b,"request_id":"%b",%b}\n'
)
_NO_TROUBLE: Final = b'"side":"","error":""'


def hide_secrets(target: bytes) -> bytes:
    """Give a target with the values of credentials in its query replaced, as lines of the log have it."""
    return _SECRETS.sub(rb"\1***", target) if _QUESTION_MARK in target else target


def json_time(seconds: int) -> bytes:
    """Format a second since the epoch for `json_line`; callers keep it until the next second begins."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ").encode()


def combined_time(seconds: int) -> str:
    """Format a second since the epoch for `combined_line`; the months are English in every locale."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment.day:02}/{_MONTHS[moment.month - 1]}/{moment.year}:{moment:%H:%M:%S} +0000"


@lru_cache(maxsize=1024)
def _origin(listener: str, client: bytes) -> bytes:
    """The members about the client: the same for all requests of a connection."""
    # The client's address is its own word when a trusted proxy passes it on.
    told = _json_escape(client) if client.translate(None, _SAFE) else client
    return b'"listener":"%b","client":"%b"' % (listener.encode(), told)


@lru_cache(maxsize=256)
def _place(pool: str, slot: int | None, generation: int | None) -> bytes:
    """The members about the backend: the same for all that it answers."""
    return b'"pool":"%b","slot":%b,"generation":%b' % (pool.encode(), _number(slot), _number(generation))


def _number(number: int | None) -> bytes:
    return b"null" if number is None else b"%d" % number


def json_line(
    time: bytes,
    listener: str,
    client: bytes,
    method: bytes,
    host: bytes,
    target: bytes,
    version: int,
    status: int,
    request_bytes: int,
    response_bytes: int,
    duration: float,
    pool: str = "",
    slot: int | None = None,
    generation: int | None = None,
    upstream_duration: float | None = None,
    retries: int = 0,
    held: float = 0.0,
    request_id: bytes = b"",
    side: str = "",
    error: str = "",
) -> bytes:
    """Format one exchange as a JSON object and a line feed.

    Arguments are positional for speed. Durations are seconds here and milliseconds in the line. Members that
    say nothing (no backend was chosen, nothing failed) are null or empty but never missing.

    Args:
        time: when the exchange ended, from `json_time`.
        listener: the listener's name.
        client: the client's address, without its port, as the proxy or a trusted peer tells it.
        method: as sent; empty when no request could be read.
        host: as sent.
        target: the target in origin-form, with its query.
        version: 10, 11 or 20.
        status: what was answered; 499 when the client left before anything was.
        request_bytes: bytes of the request's body.
        response_bytes: bytes of the response's body.
        duration: from the first byte of the request to the last of the response.
        pool: the pool's name, or empty.
        slot: the backend's slot, or None.
        generation: the backend's generation, or None.
        upstream_duration: from sending the request to the end of the response, or None.
        retries: attempts after the first.
        held: how long the exchange waited for a backend.
        request_id: what the backend was given as `X-Request-ID`.
        side: which side failed (the value of `proxy.core.errors.Side`), or empty.
        error: what failed, in one sentence, or empty.
    """
    if _QUESTION_MARK in target:
        target = _SECRETS.sub(rb"\1***", target)
    if (method + host + target + request_id).translate(None, _SAFE):
        method, host, target, request_id = map(_json_escape, (method, host, target, request_id))
    trouble = _NO_TROUBLE
    if side or error:
        told = _json_escape(error.encode("utf-8", "backslashreplace"))
        trouble = b'"side":"%b","error":"%b"' % (side.encode(), told)
    return _LINE % (
        time,
        _origin(listener, client),
        method,
        host,
        target,
        _VERSIONS.get(version, b"?"),
        status,
        request_bytes,
        response_bytes,
        duration * 1000,
        _place(pool, slot, generation),
        b"null" if upstream_duration is None else b"%.3f" % (upstream_duration * 1000),
        retries,
        b"%.3f" % (held * 1000) if held else b"0.000",
        request_id,
        trouble,
    )


def combined_line(
    time: str,
    client: bytes,
    method: bytes,
    target: bytes,
    version: int,
    status: int,
    response_bytes: int,
    referer: bytes = b"",
    user_agent: bytes = b"",
) -> bytes:
    """Format one exchange as `client - - [time] "request line" status bytes "referer" "user agent"`.

    Args:
        time: when the exchange ended, from `combined_time`.
        client: the client's address, without its port.
        method: as sent; empty when no request could be read, the request line is then `-`.
        target: the target in origin-form, with its query.
        version: 10, 11 or 20.
        status: what was answered.
        response_bytes: bytes of the response's body.
        referer: the field's value, or empty.
        user_agent: the field's value, or empty.
    """
    request = b"-"
    if method:
        if _QUESTION_MARK in target:
            target = _SECRETS.sub(rb"\1***", target)
        request = b"%b %b HTTP/%b" % (method, target, _VERSIONS.get(version, b"%d" % version))
    referer = referer or b"-"
    user_agent = user_agent or b"-"
    if _QUESTION_MARK in referer:
        referer = _SECRETS.sub(rb"\1***", referer)
    address = client
    if (address + request + referer + user_agent).translate(None, _SAFE):
        address, request, referer, user_agent = (_hex_escape(part) for part in (address, request, referer, user_agent))
    return b'%b - - [%b] "%b" %d %d "%b" "%b"\n' % (
        address,
        time.encode(),
        request,
        status,
        response_bytes,
        referer,
        user_agent,
    )


def _json_escape(value: bytes) -> bytes:
    # Bytes that are not UTF-8 become the text \xff. DEL is printable to JSON and a control to terminals.
    return dumps(value.decode("utf-8", "backslashreplace"))[1:-1].replace("\x7f", "\\u007f").encode()


def _hex_escape(value: bytes) -> bytes:
    return b"".join(bytes((byte,)) if byte in _SAFE else b"\\x%02X" % byte for byte in value)
