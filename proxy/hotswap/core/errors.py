"""The exception tree: members carry side, retry safety, and the status to answer.

Each error carries three facts, so that nobody has to guess them where it is caught: the *side* it happened on
(downstream, upstream or internal), whether sending the same exchange to another backend is safe
(*retry_safe*: nothing of it can have been processed), and the HTTP *status* to answer. Foreign exceptions are
translated into these once, in the module that calls the library.

    ProxyError
    ├── ConfigError             the configuration, with every problem in it
    ├── Refused                 a verb that was not carried out, with the reason code and the state found
    ├── NotFound                a verb about something that does not exist
    │   └── UnknownPool, UnknownSlot, UnknownRollout
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
from enum import Enum, StrEnum
from typing import Final

from hotswap.core.printable import bounded


class Side(StrEnum):
    """The side whose fault an error is."""

    DOWNSTREAM = "downstream"
    UPSTREAM = "upstream"
    INTERNAL = "internal"


class ProxyError(Exception):
    """Root of the tree; `str()` of it is `detail`, one sentence for a person.

    Attributes:
        side: whose fault it is.
        retry_safe: the exchange may be sent to another backend, whatever its method and body.
        status: the HTTP status to answer when this error ends an exchange or an admin call.
        detail: what happened, without a traceback and without secrets, and not longer than `LONGEST_TEXT`.
    """

    side: Side = Side.INTERNAL
    retry_safe: bool = False
    status: int = 500

    def __init__(self, detail: str) -> None:
        self.detail = bounded(detail)
        super().__init__(self.detail)


# Configuration.


class Missing(Enum):
    """Type of `MISSING`, so that "no value" differs from every TOML value."""

    MISSING = "missing"

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing.MISSING
"""The value of a problem about a key that is not there."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in the configuration.

    Attributes:
        path: the dotted path of the key, such as `pools.web.health.interval` or `routes[1].pool`.
        value: what was found there, or `MISSING`.
        allowed: what would be right, and how to get there.
    """

    path: str
    value: object
    allowed: str

    def __str__(self) -> str:
        found = "is missing" if self.value is MISSING else f"is {written(self.value)}"
        return f"{self.path} {found}: {self.allowed}"

    def to_json(self) -> dict[str, str | None]:
        """Give it as JSON; the value as TOML would write it, null when there is none."""
        return {
            "path": self.path,
            "value": None if self.value is MISSING else written(self.value),
            "allowed": self.allowed,
        }


def problem_text(document: object) -> str:
    """Format a problem that came as JSON, perhaps from another version, as a line."""
    if not isinstance(document, Mapping):
        return str(document)
    found = "is missing" if document.get("value") is None else f"is {document['value']}"
    return f"{document.get('path')} {found}: {document.get('allowed')}"


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
        case dict() if not value:
            text = "{}"
        case dict():
            text = f"{{ {', '.join(f'{key} = {written(item)}' for key, item in value.items())} }}"
        case _:
            text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


class ConfigError(ProxyError):
    """The configuration cannot be used; every problem in it at once, in the order of the file's tables.

    `str()` prints one problem a line.
    """

    status = 422

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        Exception.__init__(self, "\n".join(str(problem) for problem in self.problems))
        self.detail = str(self)


# Verbs that are not carried out.


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


class Refused(ProxyError):
    """A verb was refused and nothing was changed.

    Attributes:
        code: the reason.
        state: the facts it was judged by, ready for JSON.
    """

    status = 409

    def __init__(self, code: RefusalCode, detail: str, state: Mapping[str, object] | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.state: dict[str, object] = dict(state or {})

    def to_json(self) -> dict[str, object]:
        """Give it as JSON, for answers that hold several."""
        return {"code": self.code.value, "detail": self.detail, "state": self.state}


class NotFound(ProxyError):
    """A verb named something that does not exist; `known` lists what does.

    Attributes:
        code: the word for the answer's `code`, such as `unknown-pool`.
    """

    status = 404
    code = "not-found"
    noun = "thing"

    def __init__(self, name: object, known: Iterable[object] = ()) -> None:
        self.known = tuple(str(item) for item in known)
        there_is = f"there is {', '.join(self.known)}" if self.known else "there is none"
        super().__init__(f"no {self.noun} {str(name)!r}; {there_is}")


class UnknownPool(NotFound):
    """The configuration has no pool of this name."""

    code = "unknown-pool"
    noun = "pool"


class UnknownSlot(NotFound):
    """The pool has no slot of this number."""

    code = "unknown-slot"
    noun = "slot"


class UnknownRollout(NotFound):
    """No rollout with this id is remembered."""

    code = "unknown-rollout"
    noun = "rollout"


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

    Attributes:
        pool: its name.
        output: the last lines of the backend that failed, oldest first.
    """

    status = 424
    code = "pool-not-started"

    def __init__(self, pool: str, detail: str, output: Iterable[str] = ()) -> None:
        super().__init__(
            f"pool {pool} is new and did not come up: {detail}; nothing of the configuration was taken over"
        )
        self.pool = pool
        self.output = tuple(output)
