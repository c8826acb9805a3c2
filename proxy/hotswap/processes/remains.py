"""Ends the processes of a backend that outlive its leader: of its session, and daemons that have left it.

Theory. `sh -c "app; true"` ends at SIGTERM without a word to the app, and workers of a server that was killed go on
without it. The stop signal goes to the leader alone, so that a server can end its workers in its own order; what is
left when it has gone is asked as well, has what is left of the time to stop, and is killed then. A process may make
a group of its own, so it is looked for by its session; and one that makes a session of its own, a daemon, by the mark
in its variables, which one that is meant to stay is started without.
"""

from __future__ import annotations

import signal
from typing import Final

import trio

from hotswap.processes.guard import members_of, signal_group, signal_session

_FIRST_LOOK: Final = 0.01
_LAST_LOOK: Final = 0.25
"""Seconds between two looks whether something is left: in the beginning, and at most."""

KILL_PATIENCE: Final = 10.0
"""Seconds until what was killed is given up: who waits for a dead disk cannot be ended by anybody."""


class Remains:
    """Rest of one backend, found between the end of its leader and its reaping."""

    def __init__(self, session: int, start: int) -> None:
        """Make it, with the process id of the leader, also the number of its session, and when that was started."""
        self._session = session
        self._start = start
        self._killed = trio.Event()

    def kill(self) -> None:
        """Have the rest killed at once."""
        self._killed.set()

    async def end(self, *, deadline: float) -> int:
        """Block until nothing is left.

        Args:
            deadline: when the asking is over, on trio's clock.

        Returns:
            How many had to be killed; 0 also when nothing was left.

        **Cancellation**: some may live on; call it again.
        """
        if not await self._signal(signal.SIGTERM):
            return 0
        await self._signal(signal.SIGCONT)  # a stopped process takes the other only when it goes on
        pause = _FIRST_LOOK
        while trio.current_time() < deadline and not self._killed.is_set():
            with trio.move_on_at(min(deadline, trio.current_time() + pause)):
                await self._killed.wait()
            pause = min(2 * pause, _LAST_LOOK)
            if not await self._signal(0):
                return 0
        killed, pause = 0, _FIRST_LOOK
        given_up = trio.current_time() + KILL_PATIENCE
        while (left := await self._signal(signal.SIGKILL)) and trio.current_time() < given_up:
            killed = max(killed, left)
            await trio.sleep(pause)
            pause = min(2 * pause, _LAST_LOOK)
        return killed

    async def _signal(self, number: int) -> int:
        # In a thread: a machine may have many processes to look at.
        return await trio.to_thread.run_sync(self._reach, number)

    def _reach(self, number: int) -> int:
        members = members_of({self._session: self._start})[self._session]
        if members == []:
            return 0
        if members is None:
            # Nobody can say when the last one has gone, so none is left.
            signal_group(self._session, self._start, signal.SIGKILL)
            return 0
        return len(members) if signal_session(self._session, self._start, number, members) else 0
