"""Version check of a takeover: whether two versions of this program can hand over to each other.

- **protocol**: the frames and their order. Each side names the range it speaks; the highest number that both
  speak is used.
- **schema**: the state that travels. Each side names the range it can read; the old side writes the highest
  that the new one reads.
- **epoch**: raised by hand when backends that were started by older code must not be adopted by newer code,
  whatever the reason: the same thought as the compatibility number of a pool, for the proxy's own code. Unequal
  epochs never hand over.

They are compared twice: before anything is started, with what the new code on disk says of itself, and again
with what the process says that was started from it, because the disk may have changed in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

from hotswap.core.errors import ProxyError, RefusalCode, Refused

PROGRAM: Final = "hotswap"
PROTOCOL: Final = (1, 3)
"""Lowest and highest protocol that this code speaks.

- 1: the frames as they are.
- 2: the new side says `PROGRESS` in its probation too, and is given up when it falls silent there.
- 3: the new side says `STOPPING` when it is told to stop in its probation, and passes on to the old one what operators
  order of both with `ORDER`.
"""
SIGNS_OF_LIFE: Final = 2
"""The first protocol in which the new side gives signs of life in its probation."""
ORDERS: Final = 3
"""The first protocol with `STOPPING` and `ORDER`."""
SCHEMA: Final = (1, 1)
"""Lowest and highest schema of the state that this code reads; it writes the same."""
EPOCH: Final = 1
"""The takeover epoch of this code."""


class HandoffUnreadable(ProxyError):
    """The version information of a hotswap cannot be parsed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoffInfo:
    """Version information of this program.

    Attributes:
        version: of the distribution; for people.
        protocol, schema: lowest and highest number that it takes.
        epoch: its takeover epoch.
    """

    version: str
    protocol: tuple[int, int] = PROTOCOL
    schema: tuple[int, int] = SCHEMA
    epoch: int = EPOCH

    def to_json(self) -> dict[str, object]:
        """Give it as `parse_handoff_info` reads it."""
        return {"program": PROGRAM, **asdict(self)}


def parse_handoff_info(value: object) -> HandoffInfo:
    """Parse version information.

    Raises:
        HandoffUnreadable: it is something else.
    """
    if not isinstance(value, Mapping) or value.get("program") != PROGRAM:
        raise HandoffUnreadable(f"it is no {PROGRAM} that can take over")
    version, epoch = value.get("version"), value.get("epoch")
    if not isinstance(version, str) or not isinstance(epoch, int) or isinstance(epoch, bool):
        raise HandoffUnreadable("its version or takeover epoch cannot be read")
    return HandoffInfo(version=version, protocol=_range(value, "protocol"), schema=_range(value, "schema"), epoch=epoch)


def _range(value: Mapping[object, object], name: str) -> tuple[int, int]:
    match value.get(name):
        case [int(low), int(high)] if 0 < low <= high:
            return low, high
        case other:
            raise HandoffUnreadable(f"its range of the {name} cannot be read: {other!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Versions that both sides use."""

    protocol: int
    schema: int


def agree(old: HandoffInfo, new: HandoffInfo) -> Agreement:
    """Find the highest versions that both what runs and what is to take over support.

    Raises:
        Refused: there are none; it says why and what to do instead.
    """
    protocol = min(old.protocol[1], new.protocol[1])
    schema = min(old.schema[1], new.schema[1])
    if old.epoch != new.epoch:
        wrong = (
            f"version {new.version} has takeover epoch {new.epoch} and version {old.version}, which runs, has "
            f"{old.epoch}: it must not adopt backends that this one started"
        )
    elif protocol < max(old.protocol[0], new.protocol[0]):
        wrong = (
            f"version {new.version} speaks takeover protocols {_words(new.protocol)} and version {old.version}, "
            f"which runs, {_words(old.protocol)}"
        )
    elif schema < max(old.schema[0], new.schema[0]):
        wrong = (
            f"version {new.version} reads states of schema {_words(new.schema)} and version {old.version}, "
            f"which runs, writes {_words(old.schema)}"
        )
    else:
        return Agreement(protocol=protocol, schema=schema)
    detail = f"{wrong}. Nothing was changed; stop and start the proxy instead"
    raise Refused(RefusalCode.COMPATIBILITY_MISMATCH, detail, {"running": old.to_json(), "new": new.to_json()})


def _words(numbers: tuple[int, int]) -> str:
    low, high = numbers
    return str(low) if low == high else f"{low} to {high}"
