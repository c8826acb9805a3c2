"""Types of identifiers."""

from __future__ import annotations

from typing import NewType

BackendId = NewType("BackendId", int)
"""One backend for the life of a proxy process: never used twice, whatever slot or pool it filled."""

RolloutId = NewType("RolloutId", str)
"""One rollout, such as "r3"."""
