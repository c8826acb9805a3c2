"""The exception tree: members carry side, retry safety, and the status to answer.

Each error carries three facts, so that nobody has to guess them where it is caught: the *side* it happened on
(downstream, upstream or internal), whether sending the same exchange to another backend is safe
(*retry_safe*: nothing of it can have been processed), and the HTTP *status* to answer. Foreign exceptions are
translated into these once, in the module that calls the library.

    ProxyError
    ├── ConfigError             the configuration, with every problem in it
    ├── Refused                 a verb that was not carried out, with the reason code and the state found
    ├── NotFound                a verb about something that does not exist
    ├── BadRequest              the client's side
    ├── UpstreamError           the backend's side, seen from an exchange
    │   ├── ConnectFailed
    │   │   └── NothingLeft, AddressUnknown
    │   └── UpstreamBroken, UpstreamTimedOut
    └── BackendError            the backend's side, seen from supervision
        └── StartFailed, PoolNotStarted
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from hotswap.core.printable import bounded


class Side(StrEnum):
    """The side whose fault an error is."""

    DOWNSTREAM = "downstream"
    UPSTREAM = "upstream"
    INTERNAL = "internal"


class RefusalCode(StrEnum):
    """Reason of a refusal, in the order in which a reload is checked: the first that holds is the answer."""

    SHUTTING_DOWN = "shutting-down"
    TAKEOVER_IN_PROGRESS = "takeover-in-progress"
    NOT_SUPERVISED = "not-supervised"
    POOL_TOO_SMALL = "pool-too-small"
    STORAGE_EXCLUSIVE = "storage-exclusive"
    POOL_LOCKED = "pool-locked"
    ROLLOUT_IN_PROGRESS = "rollout-in-progress"
    NOT_READY = "not-ready"
    COMPATIBILITY_MISMATCH = "compatibility-mismatch"
    COMPATIBILITY_UNREADABLE = "compatibility-unreadable"
    CONFIG_INVALID = "config-invalid"


class ProxyError(Exception):
    """Root of the tree; `str()` of it is `detail`, one sentence for a person.

    Attributes:
        side: whose fault it is.
        retry_safe: the exchange may be sent to another backend, whatever its method and body.
        status: the HTTP status to answer when this error ends an exchange or an admin call.
        detail: what happened, without a traceback and without secrets, and not longer than `LONGEST_TEXT`.
        code: the word for it when it answers a verb; "" of what is no answer to one.
        state: the facts that a verb was judged by, ready for JSON.
    """

    side: Side = Side.INTERNAL
    retry_safe: bool = False
    status: int = 500
    code: str = ""
    state: Mapping[str, object] = MappingProxyType({})

    def __init__(self, detail: str) -> None:
        self.detail = bounded(detail)
        super().__init__(self.detail)


# Configuration.


MISSING: Final = object()
"""The value of a problem about a key that is not there; it differs from every TOML value."""


@dataclass(frozen=True, slots=True)
class Verbatim:
    """A value that is shown as it is: a line of a file, or words that say what was found in place of a value."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in the configuration; `str()` is `FILE:LINE: KEY must be WHAT, is VALUE; WAY OUT`.

    Attributes:
        path: the dotted path of the key, such as `pools.web.health.interval` or `routes[1].pool`; `line` or `file` of
            what is no key.
        value: what was found there, or `MISSING`.
        allowed: what would be right, in words that follow "must be"; then, after the first `; `, how to get there.
        file: where the key stands, as far as that is known.
        line: its line there, or that of the table it is missing in; 0 where nobody knows.
    """

    path: str
    value: object
    allowed: str
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        return problem_text(self.to_json())

    def to_json(self) -> dict[str, str | int | None]:
        """Give it as JSON; the value as TOML would write it, null when there is none, and so are file and line."""
        return {
            "file": self.file or None,
            "line": self.line or None,
            "path": self.path,
            "value": None if self.value is MISSING else written(self.value),
            "allowed": self.allowed,
        }


def problem_text(document: object) -> str:
    """Format a problem that came as JSON, perhaps from another version, as a line."""
    if not isinstance(document, Mapping):
        return str(document)
    where = "".join(f"{document[key]}:" for key in ("file", "line") if document.get(key))
    found = "missing" if document.get("value") is None else document["value"]
    what, semicolon, way_out = str(document.get("allowed")).partition("; ")
    return f"{where}{' ' if where else ''}{document.get('path')} must be {what}, is {found}{semicolon}{way_out}"


def written(value: object) -> str:
    """Format a value as TOML, cut at 60 characters so that it fits a line."""
    match value:
        case bool():
            text = "true" if value else "false"
        case str():
            escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
            text = f'"{escaped}"'
        case list() | tuple():
            text = f"[{', '.join(written(item) for item in value)}]"
        case int() if value.bit_length() > 256:
            text = hex(value)
        case dict() if not value:
            text = "{}"
        case dict():
            text = f"{{ {', '.join(f'{key} = {written(item)}' for key, item in value.items())} }}"
        case _:
            text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


class ConfigError(ProxyError):
    """The configuration cannot be used; every problem in it at once, in the order of the file's lines.

    `str()` prints one problem a line.
    """

    status = 422
    code = RefusalCode.CONFIG_INVALID

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        self.state = {"problems": [problem.to_json() for problem in self.problems]}
        Exception.__init__(self, "\n".join(str(problem) for problem in self.problems))
        self.detail = str(self)


# Verbs that are not carried out.


class Refused(ProxyError):
    """A verb was refused and nothing was changed."""

    status = 409

    def __init__(self, code: RefusalCode, detail: str, state: Mapping[str, object] | None = None) -> None:
        super().__init__(detail)
        self.code: RefusalCode = code
        self.state = dict(state or {})

    def to_json(self) -> dict[str, object]:
        """Give it as JSON, for answers that hold several."""
        return {"code": self.code.value, "detail": self.detail, "state": self.state}


class NotFound(ProxyError):
    """A verb named a pool, slot or rollout that does not exist; the state lists what does.

    Its code is `unknown-pool`, `unknown-slot` or `unknown-rollout`.
    """

    status = 404

    def __init__(self, noun: str, name: object, known: Iterable[object] = ()) -> None:
        there = [str(item) for item in known]
        super().__init__(f"no {noun} {str(name)!r}; there is {', '.join(there) or 'none'}")
        self.code = f"unknown-{noun}"
        self.state = {"known": there}


# The client's side.


class BadRequest(ProxyError):
    """A request that is answered by the proxy itself: 400, 408, 413, 414, 417, 431, 501 or 505."""

    side = Side.DOWNSTREAM

    def __init__(self, detail: str, status: int = 400) -> None:
        super().__init__(detail)
        self.status = status


# The backend's side.


class UpstreamError(ProxyError):
    """An exchange with a backend failed; whether another backend may be asked is `retry_safe`."""

    side = Side.UPSTREAM
    status = 502


class ConnectFailed(UpstreamError):
    """No connection to the backend came about, so nothing of the exchange was sent."""

    retry_safe = True


class NothingLeft(ConnectFailed):
    """Out of descriptors or memory for a connection; not the backend's fault."""

    side = Side.INTERNAL
    status = 503


class AddressUnknown(ConnectFailed):
    """The first lookup of the backend's name is not done; not the backend's fault."""

    side = Side.INTERNAL
    status = 503


class UpstreamBroken(UpstreamError):
    """The backend closed, reset, or answered what is not HTTP, after something of the exchange was sent."""

    def __init__(self, detail: str, *, retry_safe: bool = False) -> None:
        super().__init__(detail)
        self.retry_safe = retry_safe


class UpstreamTimedOut(UpstreamError):
    """A timeout of the backend has passed."""

    status = 504


class BackendError(ProxyError):
    """A process of a backend could not be started or stopped."""

    side = Side.UPSTREAM
    status = 503


class StartFailure(StrEnum):
    """Why a backend did not become ready."""

    EXITED = "exited"
    CANNOT_SERVE = "cannot-serve"
    TIMED_OUT = "timed-out"
    UNHEALTHY = "unhealthy"


class StartFailed(BackendError):
    """A backend did not become ready.

    Attributes:
        reason: which of the ways it failed.
        output: the last lines the process wrote, oldest first.
    """

    def __init__(self, reason: StartFailure, detail: str, output: Iterable[str] = ()) -> None:
        super().__init__(detail)
        self.reason = reason
        self.output = tuple(output)


class PoolNotStarted(BackendError):
    """A pool that is new in the configuration did not come up, so nothing of the configuration was taken over.

    The state has its name and `output`, the last lines of the backend that failed, oldest first.
    """

    status = 424
    code = "pool-not-started"

    def __init__(self, pool: str, detail: str, output: Iterable[str] = ()) -> None:
        super().__init__(
            f"pool {pool} is new and did not come up: {detail}; nothing of the configuration was taken over"
        )
        self.state = {"pool": pool, "output": list(output)}
