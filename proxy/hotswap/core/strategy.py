"""Enumerations of the configuration: strategies, balancing, readiness, protocols.

Each word is an enum whose value is the very word in TOML, JSON, logs and docs, so that the configuration
model, the state machines and the answers of the admin API can never disagree about its spelling.
"""

from __future__ import annotations

from enum import StrEnum


class Strategy(StrEnum):
    """In which order the old backend of a slot goes and its replacement comes."""

    DRAIN_FIRST = "drain-first"
    """The old backend drains while its replacement starts."""
    SURGE = "surge"
    """The replacement is claimable before the old backend drains."""
    STOP_FIRST = "stop-first"
    """The old process is gone before its replacement is spawned."""


class SlotOrder(StrEnum):
    """In which order the slots of a pool are replaced."""

    RANDOM = "random"
    OLDEST_FIRST = "oldest-first"
    NEWEST_FIRST = "newest-first"


class OnFailure(StrEnum):
    """What becomes of a pool whose rollout failed."""

    LOCK = "lock"
    """Reloads are refused and crashed backends are not respawned until `unlock`."""
    ROLLBACK = "rollback"
    """Slots already replaced return, one at a time, to the release pinned before."""


class Balance(StrEnum):
    """How a claimable backend is chosen for an exchange."""

    LEAST_IN_FLIGHT = "least-in-flight"
    ROUND_ROBIN = "round-robin"


class Listen(StrEnum):
    """What kind of listening socket a backend is given."""

    FD = "fd"
    UNIX = "unix"
    TCP = "tcp"


class Ready(StrEnum):
    """What a new backend has to do before it is believed to be ready."""

    HEALTH = "health"
    """Answer the health check."""
    NOTIFY = "notify"
    """Send `READY=1` to `NOTIFY_SOCKET`, then answer the health check."""


class BackendProtocol(StrEnum):
    """What the proxy speaks to the backends of a pool."""

    HTTP1 = "http1"
    H2C = "h2c"
    """HTTP/2 without TLS, known in advance."""
