"""What a data plane tells control of its own accord; see `docs/explanation/control-and-data-plane.md`."""

from __future__ import annotations

from dataclasses import dataclass

from hotswap.core.identity import BackendId


@dataclass(frozen=True, slots=True)
class BackendIdle:
    """The last exchange of a draining backend has ended.

    Attributes:
        backend: which.
        version: of the view by which it drains: one that was readmitted since is not drained by this.
    """

    backend: BackendId
    version: int


@dataclass(frozen=True, slots=True)
class Ejected:
    """A backend failed again and again: others are preferred for so many seconds, or, with 0, no longer."""

    backend: BackendId
    seconds: float


Report = BackendIdle | Ejected
