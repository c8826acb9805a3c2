"""Rate limiter: the generic cell rate algorithm over a compact, bounded table of keys.

Of each key one number is kept, the time at which it would have used up nothing any more (the "theoretical arrival time"
of ITU-T I.371). A request moves it on by one interval, and is refused while it is further ahead than the burst allows.
So the answer is exact, nothing has to be done as time passes, and a key whose time has come is as good as forgotten.

The table. Keys are spread over shards by two of their bytes. A shard is a string of keys, searched in C, and an array
of times: 16 bytes a key, with nothing to be moved when the table grows, so that no request pays for many. A shard that
is full forgets the key that has used least, which loses least: it is that of somebody who has sent next to nothing, and
who is allowed a request more by it. Who floods the table with new keys cannot make it forget those who are near their
limit, and nobody is refused for being new.
"""

from __future__ import annotations

from array import array
from typing import Final

from hotswap.core.http.client_address import KEY_BYTES
from hotswap.core.http.rate import RequestRate

SHARDS: Final = 4096
MOST_IN_SHARD: Final = 384
"""A million keys are 244 in each of the shards, and more than this in none of them, by any chance worth a word."""

_FEW: Final = 16
_SECOND: Final = 1_000_000_000
_FAR: Final = 1 << 61
"""Nanoseconds, 73 years: no time is further ahead, so that each fits its place in an array."""


class _Shard:
    """Some keys and their times; `room` is how many may be there until those are forgotten whose time has come."""

    __slots__ = ("keys", "room", "times")

    def __init__(self) -> None:
        self.keys = bytearray()
        self.times = array("q")
        self.room = _FEW

    def find(self, key: bytes) -> int:
        """The place of a key, or -1."""
        keys = self.keys
        at = keys.find(key)
        while at > 0 and at % KEY_BYTES:  # across two keys
            at = keys.find(key, at + 1)
        return at // KEY_BYTES

    def add(self, key: bytes, time: int, now: int, most: int) -> None:
        """Add a key that is not there."""
        if len(self.times) >= self.room:
            self._forget(now, most)
        times = self.times
        if len(times) < most:
            self.keys += key
            times.append(time)
            return
        place = times.index(min(times))
        self.keys[place * KEY_BYTES : (place + 1) * KEY_BYTES] = key
        times[place] = time

    def _forget(self, now: int, most: int) -> None:
        """Forget keys whose time has come, of twice as many as were left the last time."""
        if len(self.times) >= most and min(self.times) > now:
            return  # none has
        live = [place for place, time in enumerate(self.times) if time > now]
        keys = self.keys
        self.keys = bytearray().join(keys[place * KEY_BYTES : (place + 1) * KEY_BYTES] for place in live)
        self.times = array("q", [self.times[place] for place in live])
        self.room = min(most, max(_FEW, 2 * len(live)))


class RateLimiter:
    """Limits how often each key may be taken; see the module.

    Args:
        rate: how often, evenly: once in each of its intervals.
        burst: how many more may come at once.
        shards: a power of two, 65536 at most.
        most_in_shard: keys; beyond that, the one that has used least is forgotten for each new one.
    """

    __slots__ = ("_interval", "_mask", "_most", "_shards", "_tolerance")

    def __init__(
        self, rate: RequestRate, burst: int, *, shards: int = SHARDS, most_in_shard: int = MOST_IN_SHARD
    ) -> None:
        self._interval = int(rate.interval * _SECOND) or 1
        self._tolerance = min(burst * self._interval, _FAR)
        self._mask = shards - 1
        self._most = most_in_shard
        self._shards: list[_Shard | None] = [None] * shards

    def __len__(self) -> int:
        """How many keys it has, those among them that are as good as forgotten."""
        return sum(len(shard.times) for shard in self._shards if shard is not None)

    def take(self, key: bytes, now: float) -> float:
        """Take one for a key.

        Args:
            key: of `KEY_BYTES`, evenly distributed.
            now: seconds, of any beginning. Should they jump back, nobody waits for longer than who has just used all.

        Returns:
            0.0 when it is allowed, else the seconds until the next one is.
        """
        moment = int(now * _SECOND)
        shard = self._shard(key)
        if shard is None:
            shard = self._shards[(key[0] | key[1] << 8) & self._mask] = _Shard()
        place = shard.find(key)
        if place < 0:
            shard.add(key, moment + self._interval, moment, self._most)
            return 0.0
        latest = moment + self._tolerance
        time = max(moment, min(shard.times[place], latest + self._interval))
        if time > latest:
            shard.times[place] = time
            return (time - latest) / _SECOND
        shard.times[place] = time + self._interval
        return 0.0

    def give_back(self, key: bytes) -> None:
        """Give back one that was taken for a key."""
        shard = self._shard(key)
        place = -1 if shard is None else shard.find(key)
        if shard is not None and place >= 0:
            shard.times[place] -= self._interval

    def used(self, key: bytes, now: float) -> float:
        """Seconds until a key will have used nothing any more; 0.0 when that is so already."""
        shard = self._shard(key)
        place = -1 if shard is None else shard.find(key)
        if shard is None or place < 0:
            return 0.0
        return max(0, shard.times[place] - int(now * _SECOND)) / _SECOND

    def _shard(self, key: bytes) -> _Shard | None:
        return self._shards[(key[0] | key[1] << 8) & self._mask]
