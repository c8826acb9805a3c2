"""Formats access lines, as JSON or in the combined format of Apache and nginx.

A line is written for every exchange, so the common case is one f-string and one scan; only a field with a
byte that has to be escaped pays for escaping. What a client sent can never end a line, close a string, or
reach a terminal as a control sequence: everything outside printable ASCII, quotes and backslashes are escaped
(CWE-117).

Secrets: fields of the request such as `Authorization` and `Cookie` are never logged. The target is logged
with its query, because without it a line rarely explains anything, but the values of parameters whose names
say that they are credentials, however these are spelled, are replaced by `***` (CWE-532).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from json import dumps
from typing import Final
from urllib.parse import unquote_to_bytes

from hotswap.core.printable import bounded

_SAFE: Final = bytes(byte for byte in range(0x20, 0x7F) if byte not in b'"\\')
_SECRET: Final = re.compile(
    rb"(?i:token|secret|password|passwd|passphrase|pwd|credentials?|signature|authorization|assertion|samlresponse|jwt"
    rb"|csrf|xsrf|sess(?:ion)?[_.-]?id|(?:api|access|secret|private|account|client|subscription)[_.-]?key"
    rb"|(?:auth|authorization|verification|reset|login|invite|confirm(?:ation)?|device|user)[_.-]?code"
    rb"|(?<![a-z])(?:[_-]?key|auth|pass|sig|session|sid|t?otp|pin)|^code)(?![a-z])"
)
"""Words in names whose values are credentials; more letters make another word of them (`tokens`, `keyboard`)."""
_OF_PATHS: Final = re.compile(rb"([;/])")
_OF_QUERIES: Final = re.compile(rb"([?&;])")
"""What parameters stand between."""
_VERSIONS: Final = {10: b"1.0", 11: b"1.1", 20: b"2"}
_EQUALS: Final = 0x3D
_LONGEST: Final = 8192
"""Bytes of a field in a line; of a longer one, three dots stand for the rest."""
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_LINE: Final = (
    b'{"time":"%b",%b,"method":"%b","host":"%b","target":"%b","version":"%b"'
    b',"status":%d,"request_bytes":%d,"response_bytes":%d,"duration":%.3f,%b'
    b',"upstream_duration":%b,"retries":%d,"held":%b,"request_id":"%b",%b}\n'
)
_NO_TROUBLE: Final = b'"side":"","error":""'


def hide_secrets(target: bytes) -> bytes:
    """Replace the values of credentials in the query and path of a target, as log lines have it."""
    target = _cut(target)
    if _EQUALS not in target:
        return target
    path, mark, query = target.partition(b"?")
    if b";" in path:
        path = _without_secrets(path, _OF_PATHS)
    return path + _without_secrets(mark + query, _OF_QUERIES)


def _without_secrets(text: bytes, separators: re.Pattern[bytes]) -> bytes:
    parts = separators.split(text)
    for place in range(2, len(parts), 2):  # the first is no parameter, every second a separator
        name, equals, value = parts[place].partition(b"=")
        if value and parts[place - 1] != b"/" and _is_secret(name):
            parts[place] = name + equals + b"***"
    return b"".join(parts)


def _is_secret(name: bytes) -> bool:
    # What is longer is no name that anybody gave; it is not kept, and not shown.
    return len(name) > 128 or _names_secret(name)


@lru_cache(maxsize=1024)
def _names_secret(name: bytes) -> bool:
    return _SECRET.search(unquote_to_bytes(name)) is not None


def _cut(text: bytes) -> bytes:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + b"..."


def json_time(seconds: int) -> bytes:
    """Format a second since the epoch for `json_line`; callers cache it until the next second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ").encode()


def combined_time(seconds: int) -> str:
    """Format a second since the epoch for `combined_line`; the months are English in every locale."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment.day:02}/{_MONTHS[moment.month - 1]}/{moment.year}:{moment:%H:%M:%S} +0000"


@lru_cache(maxsize=1024)
def _origin(listener: str, client: bytes) -> bytes:
    """The members about the client, which are the same for all requests of a connection."""
    # The client's address is its own word when a trusted proxy passes it on.
    told = _json_escape(client) if client.translate(None, _SAFE) else client
    return b'"listener":"%b","client":"%b"' % (listener.encode(), told)


@lru_cache(maxsize=256)
def _place(pool: str, slot: int | None, generation: int | None) -> bytes:
    """The members about the backend, which are the same for all its answers."""
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
        side: which side failed (the value of `hotswap.core.errors.Side`), or empty.
        error: what failed, in one sentence, or empty.
    """
    if _EQUALS in target:
        target = hide_secrets(target)
    told = method + host + target + request_id
    if len(told) > _LONGEST:
        target, host = _cut(target), _cut(host)
        told = method + host + target + request_id
    if told.translate(None, _SAFE):
        method, host, target, request_id = map(_json_escape, (method, host, target, request_id))
    trouble = _NO_TROUBLE
    if side or error:
        told = _json_escape(bounded(error).encode("utf-8", "backslashreplace"))
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
    user: bytes = b"",
) -> bytes:
    """Format one exchange as `client - user [time] "request line" status bytes "referer" "user agent"`.

    Arguments are as of `json_line`, but for `time`, which is from `combined_time`, two fields of the request and the
    user who it says it is from, which may be empty; without a method the request line is `-`, as is no user.
    """
    request = b"-"
    if method:
        request = b"%b %b HTTP/%b" % (method, hide_secrets(target), _VERSIONS.get(version, b"%d" % version))
    referer = hide_secrets(referer) or b"-"
    user_agent = _cut(user_agent) or b"-"
    # A space would move the columns behind it.
    address, user = client.replace(b" ", b"_"), user.replace(b" ", b"_") or b"-"
    if (address + user + request + referer + user_agent).translate(None, _SAFE):
        address, user, request, referer, user_agent = map(_hex_escape, (address, user, request, referer, user_agent))
    return b'%b - %b [%b] "%b" %d %d "%b" "%b"\n' % (
        address,
        user,
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
