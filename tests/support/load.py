"""A load: clients of many kinds in a loop, and the counts of what they lived through.

`run_load` starts them and, at the end of its block, asks each to stop behind its present turn; nothing is
cut, so nothing that went wrong can hide as "stopped just then". Counts are kept apart for each target and
kind.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, closing, nullcontext
from pathlib import Path

import trio

from tests.support.client import Target
from tests.support.clients import EVERY_KIND, Client
from tests.support.metronome import Waits, run_metronome
from tests.support.trouble import Count, Trouble

TURN_TIMEOUT = 15.0
"""Seconds after which a turn counts as timed out."""


class Load:
    """A running load; its counts may be read at any time."""

    def __init__(self, clients: Sequence[Client], counts: Mapping[str, Count], waits: Waits, rest: float) -> None:
        self.counts = counts
        self._rest = rest
        self._waits = waits
        self._clients = clients
        self._stopping = trio.Event()
        self._progress = trio.Event()

    @property
    def done(self) -> int:
        """Exchanges of all kinds that were right in every respect."""
        return sum(count.done for count in self.counts.values())

    @property
    def troubles(self) -> int:
        """Failures of all kinds."""
        return sum(count.troubles.total() for count in self.counts.values())

    async def wait_turns(self, turns: int) -> None:
        """Block until every kind has completed this many more turns, well or badly."""
        start = {kind: _attempts(count) for kind, count in self.counts.items()}
        while any(_attempts(count) < start[kind] + turns for kind, count in self.counts.items()):
            await self._progress.wait()

    def now(self) -> float:
        """The clock that delays are recorded by."""
        return trio.current_time()

    async def after_turns(self, turns: int) -> float:
        """The time when every kind has completed this many more turns."""
        await self.wait_turns(turns)
        return self.now()

    def table(self) -> str:
        """All counts, one line each, and the first troubles in words."""
        lines = [str(count) for count in self.counts.values()]
        lines += [detail for count in self.counts.values() for detail in count.details]
        return "\n".join(lines)

    def assert_unharmed(self) -> None:
        """Fail unless every count of trouble is 0 and every kind did something."""
        assert all(count.done for count in self.counts.values()), f"a kind did nothing:\n{self.table()}"
        assert not self.troubles, f"{self.troubles} failures:\n{self.table()}"

    def troubles_of(self, kinds: Iterable[Trouble]) -> int:
        """How often any of these troubles was met."""
        wanted = set(kinds)
        return sum(
            number for count in self.counts.values() for kind, number in count.troubles.items() if kind in wanted
        )

    def slowest(self, kind: str, *, since: float, until: float = float("inf")) -> float:
        """The longest delay of a kind that began in this time, in seconds, without the waits for a processor in it."""
        return max(
            (
                delay.seconds - self._waits.within(delay.began, delay.began + delay.seconds)
                for delay in self.counts[kind].delays
                if since <= delay.began < until
            ),
            default=0.0,
        )

    def assert_not_slower(self, *, steady: tuple[float, float], margin: float) -> None:
        """Fail if any delay that began behind the steady time is longer than its kind's longest in it, plus the margin.

        Args:
            steady: From when to when nothing happened; the time before it (the first connections) does not count.
            margin: Seconds.
        """
        since, until = steady
        slow = []
        for kind in self.counts:
            before, later = self.slowest(kind, since=since, until=until), self.slowest(kind, since=until)
            if later > before + margin:
                slow.append(f"{kind}: {later:.3f} s, was {before:.3f} s")
        assert not slow, "\n".join([*slow, self.table()])

    def assert_ledger(self, database: Path) -> None:
        """As `assert_entries`, of the ledger in a file of SQLite."""
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            self.assert_entries(dict(connection.execute("SELECT id, count FROM ledger")))

    def assert_entries(self, entries: Mapping[str, int]) -> None:
        """Fail unless the ledger has every acknowledged id exactly once, and none that was never sent.

        Only when there was no trouble must every id that was sent be there.

        Args:
            entries: How often each id was recorded.
        """
        doubled = {identity: count for identity, count in entries.items() if count != 1}
        assert not doubled, f"recorded more than once: {doubled}"
        acknowledged = {identity for count in self.counts.values() for identity in count.acknowledged}
        sent = {identity for count in self.counts.values() for identity in count.sent}
        assert not acknowledged - entries.keys(), "acknowledged and lost"
        assert not entries.keys() - sent, "recorded but never sent"
        if not self.troubles:
            assert sent == entries.keys()

    async def _loop(self, client: Client) -> None:
        while not self._stopping.is_set():
            try:
                with trio.fail_after(TURN_TIMEOUT):
                    await client.turn()
            except Exception as error:
                client.count.trouble(error, at=trio.current_time())
                client.abandon()
            else:
                client.count.done += 1
            self._progress.set()
            self._progress = trio.Event()
            with trio.move_on_after(max(client.pace, self._rest)):
                await self._stopping.wait()
        await client.leave()


def _attempts(count: Count) -> int:
    return count.done + count.troubles.total()


@asynccontextmanager
async def run_load(
    targets: Mapping[str, Target],
    *,
    kinds: Sequence[type[Client]] = EVERY_KIND,
    clients: int = 1,
    processes: Sequence[int] = (),
    rest: float = 0.1,
) -> AsyncIterator[Load]:
    """Run `clients` clients of each kind against each target until the block ends, then let them finish.

    Args:
        targets: By the name that counts carry, such as "tls" and "plain".
        kinds: What the clients do.
        clients: How many of each kind there are for each target.
        processes: Those whose waits for a processor are not counted as delays, their children and this one
            included; without any, every wait counts.
        rest: Seconds that each client rests at least between two turns. Many loads run side by side, and one that
            leaves no processor to the others tests them instead of what it is for.
    """
    counts: dict[str, Count] = {}
    crowd: list[Client] = []
    for name, target in targets.items():
        for kind in kinds:
            count = counts.setdefault(f"{name} {kind.kind}", Count(f"{name} {kind.kind}"))
            crowd += [kind(target, count, name=f"{name}-{kind.__name__}-{number}") for number in range(clients)]
    watch = run_metronome(processes) if processes else nullcontext(Waits())
    async with watch as waits, trio.open_nursery() as nursery:
        load = Load(crowd, counts, waits, rest)
        for client in crowd:
            nursery.start_soon(load._loop, client)
        yield load
        load._stopping.set()
