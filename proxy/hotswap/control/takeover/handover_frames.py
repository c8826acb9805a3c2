"""What the old process hands over, as frames with descriptors; `hotswap.control.takeover.inheritance` reads them."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import trio

from hotswap.control.pools.supervised_backend import SupervisedBackend
from hotswap.control.process.parts import Parts
from hotswap.control.takeover.channel import seal
from hotswap.control.takeover.handover_state import write_state
from hotswap.core.takeover.ledgers import HandingLedger
from hotswap.wire.handover import FrameType

HandoverFrame = tuple[FrameType, dict[str, Any], tuple[int, ...]]
"""Type, body, and descriptors, which stay their owner's."""

TAIL_LINES = 5
"""Last lines of a backend's output that go with it."""


class HandoverFrames:
    """Writes the frames; what is to be written later is given as a function."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._ledger: HandingLedger[SupervisedBackend] = HandingLedger()

    def listeners(self) -> list[Callable[[], HandoverFrame]]:
        """Give each listening socket, public and of the admin API."""
        door = self._parts.door
        frames: list[Callable[[], HandoverFrame]] = [
            partial(_listener, one.socket, "public", name=one.listener, asked=str(one.asked), owned=one.owned)
            for one in self._parts.listeners.hand_over()
        ]
        frames += [
            partial(_listener, admin, "admin", name="admin", asked=str(asked), owned=True)
            for admin, asked in zip(door.sockets, door.asked, strict=True)
        ]
        return frames

    def whole_state(self) -> HandoverFrame:
        """Give the state, with the backends that will follow; its first descriptor is the caller's to close."""
        announced = {"backends": [member.process.pid for member in self._ledger.announce(self._members())]}
        return FrameType.STATE, announced, (seal(self.state()), self._parts.guardian.pipe)

    def state(self) -> dict[str, Any]:
        """Give the state as it is now."""
        parts = self._parts
        return {
            **write_state(parts.pools.values(), book=parts.book, events=parts.events, tally=parts.tally),
            "pid_directories": [str(directory) for directory in parts.pid_directories],
        }

    def backends(self) -> list[Callable[[], HandoverFrame]]:
        """Give each backend that was announced with the state, also those that have ended since."""
        return [partial(self._backend, member) for member in self._ledger.announced]

    def changes(self) -> list[Callable[[], HandoverFrame]]:
        """Give each backend that serves by now and was not handed over."""
        return [partial(self._backend, member) for member in self._ledger.due(self._members())]

    def going(self) -> tuple[SupervisedBackend, ...]:
        """Give the backends that belong to the new process from now on."""
        return self._ledger.going(self._members())

    def commit(self, going: Iterable[SupervisedBackend]) -> dict[str, Any]:
        """Give the last word on each backend that goes."""
        return {
            "generation": self._parts.life.incarnation + 1,
            "backends": [
                {
                    "pid": member.process.pid,
                    "start": member.process.start,
                    "state": member.backend.state.value,
                    "health": member.backend.health.value,
                }
                for member in going
            ],
        }

    def _members(self) -> list[SupervisedBackend]:
        return [member for pool in self._parts.pools.supervised() for member in pool.members.serving()]

    def _backend(self, member: SupervisedBackend) -> HandoverFrame:
        backend, process = member.backend, member.process
        self._ledger.note_sent(member)
        if not member.alive:
            return FrameType.BACKEND, {"pid": process.pid, "gone": True}, ()
        handles = process.handles
        now = trio.current_time()
        descriptors = [handles.pidfd]
        if handles.output is not None:
            descriptors.append(handles.output)
        if handles.notify is not None:
            descriptors.append(handles.notify.socket.fileno())
        body = {
            "pool": backend.pool,
            "slot": backend.slot,
            "generation": backend.generation,
            "pid": process.pid,
            "start": process.start,
            "address": str(backend.address),
            "state": backend.state.value,
            "health": backend.health.value,
            "ready_for": now - (member.ready_at or now),
            "output": handles.output is not None,
            "notify": None if handles.notify is None else handles.notify.path,
            "status": process.status,
            "tail": list(process.output_lines()[-TAIL_LINES:]),
        }
        return FrameType.BACKEND, body, tuple(descriptors)


def _listener(sock: socket.socket, role: str, *, name: str, asked: str, owned: bool) -> HandoverFrame:
    body = {"role": role, "name": name, "asked": asked, "owned": owned}
    return FrameType.LISTENER, body, (sock.fileno(),)
