"""Rates of requests: exactly what the algorithm says, in a table that stays small."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotswap.core.http.rate import RequestRate
from hotswap.core.http.rate_limiter import RateLimiter

pytestmark = pytest.mark.fail_after(60)

ONE, OTHER = b"one.key.", b"another."
SECOND = 10**9


def limiter(rate: str = "10/s", burst: int = 0, **bounds: int) -> RateLimiter:
    """A limiter of a rate as the configuration writes it."""
    count, _, unit = rate.partition("/")
    return RateLimiter(RequestRate(int(count), unit), burst, **bounds)


def key(number: int) -> bytes:
    """A key of its own for each number."""
    return hash(number.to_bytes(8, "little")).to_bytes(8, "little", signed=True)


def test_a_rate_is_one_in_each_interval():
    """Not all of a second at its beginning."""
    limit = limiter("10/s")
    assert limit.take(ONE, 5.0) == 0.0
    assert limit.take(ONE, 5.0) == pytest.approx(0.1)
    assert limit.take(ONE, 5.0625) == pytest.approx(0.0375)
    assert limit.take(ONE, 5.125) == 0.0


def test_a_burst_is_how_many_more_may_come_at_once():
    """One, and the burst; they are earned again at the rate."""
    limit = limiter("10/s", burst=3)
    assert [limit.take(ONE, 5.0) for _ in range(5)] == [0.0, 0.0, 0.0, 0.0, pytest.approx(0.1)]
    assert limit.take(ONE, 5.125) == 0.0
    assert limit.take(ONE, 5.125) > 0.0


def test_keys_are_counted_apart():
    """What one has used is not taken from another."""
    limit = limiter()
    assert limit.take(ONE, 5.0) == limit.take(OTHER, 5.0) == 0.0
    assert limit.take(ONE, 5.0)
    assert limit.take(OTHER, 5.0)


def test_what_is_refused_uses_nothing():
    """Who goes on trying is served as soon as who waits."""
    limit = limiter("1/s")
    limit.take(ONE, 5.0)
    for tenth in range(10):
        assert limit.take(ONE, 5.0 + tenth / 10)
    assert limit.take(ONE, 6.0) == 0.0


def test_what_is_given_back_was_not_used():
    """A key that has nothing used has nothing to be given back."""
    limit = limiter("1/m")
    assert limit.used(ONE, 5.0) == 0.0
    limit.give_back(ONE)
    limit.take(ONE, 5.0)
    assert limit.used(ONE, 5.0) == 60.0
    assert limit.used(ONE, 35.0) == 30.0
    limit.give_back(ONE)
    assert limit.used(ONE, 5.0) == 0.0
    assert limit.take(ONE, 5.0) == 0.0


@pytest.mark.parametrize("jump", [-1e6, -30.0, -0.001, 0.001, 30.0, 1e6])
def test_a_clock_that_jumps_does_no_harm(jump):
    """Nobody waits for longer than who has just used all, and nobody is limited any less from then on."""
    limit = limiter("1/s", burst=2)
    for _ in range(3):
        assert limit.take(ONE, 1e7) == 0.0
    now = 1e7 + jump
    assert limit.take(ONE, now) <= 1.0
    assert [limit.take(ONE, now + 10) for _ in range(4)] == [0.0, 0.0, 0.0, pytest.approx(1.0)]


@pytest.mark.parametrize(("rate", "burst"), [("1/h", 10**9), ("999999999/s", 0), ("999999999/s", 10**9)])
def test_the_ends_of_what_can_be_configured(rate, burst):
    """No number is too large for its place."""
    limit = limiter(rate, burst)
    for _ in range(100):
        limit.take(ONE, 4e9)
    assert limit.used(ONE, 4e9) > 0.0


RATES = [
    ("1/s", SECOND),
    ("10/s", SECOND // 10),
    ("3/s", SECOND // 3),
    ("7/m", 60 * SECOND // 7),
    ("2/h", 1800 * SECOND),
]


@settings(deadline=None, max_examples=200)
@given(
    rate=st.sampled_from(RATES),
    burst=st.integers(0, 5),
    steps=st.lists(
        st.tuples(st.integers(0, 5), st.one_of(st.integers(0, 64), st.integers(0, 64 * 7200))), max_size=120
    ),
)
def test_it_is_exact(rate, burst, steps):
    """Against buckets that are filled drop by drop, in whole nanoseconds; times are of 1/64 s, which floats have."""
    written, interval = rate
    limit = limiter(written, burst, shards=2, most_in_shard=64)
    full = (burst + 1) * interval
    buckets: dict[int, tuple[int, int]] = {}
    moment = 64
    for who, pause in steps:
        moment += pause
        now = moment * SECOND // 64
        level, since = buckets.get(who, (0, now))
        level = max(0, level - (now - since))
        wait = limit.take(key(who), moment / 64)
        if level + interval <= full:
            assert wait == 0.0
            level += interval
        else:
            assert wait == pytest.approx((level + interval - full) / SECOND, abs=1e-9)
        buckets[who] = (level, now)


def test_keys_that_used_nothing_any_more_are_forgotten():
    """A table has no more keys than twice those of now, whoever came before."""
    limit = limiter("10/s", shards=1)
    for second in range(100):
        for number in range(30):
            assert limit.take(key(100 * second + number), float(second)) == 0.0
    assert len(limit) <= 64


def test_a_flood_of_new_keys_does_not_make_a_full_table_forget_who_is_at_the_limit():
    """Those are forgotten who have used least, and nobody is refused for being new."""
    limit = limiter("1/h", burst=9, shards=4, most_in_shard=32)
    heavy = [key(number) for number in range(12)]
    for one in heavy:
        assert not any(limit.take(one, 1.0) for _ in range(10))
    for number in range(1000, 6000):
        assert limit.take(key(number), 2.0) == 0.0
    assert all(limit.take(one, 3.0) for one in heavy)
    assert len(limit) <= 4 * 32


MILLION = """
from hotswap.core.http.rate import RequestRate
from hotswap.core.http.rate_limiter import RateLimiter

def resident():
    with open("/proc/self/statm") as stream:
        return int(stream.read().split()[1]) * 4096

limit, before = RateLimiter(RequestRate(1, "h"), 0), resident()
for number in range(1_000_000):
    limit.take(hash(number.to_bytes(8, "little")).to_bytes(8, "little", signed=True), 1.0)
print(len(limit), resident() - before)
"""


def test_a_million_keys_cost_at_most_64_mebibytes():
    """And none of them is forgotten."""
    told = subprocess.run([sys.executable, "-c", MILLION], capture_output=True, check=True, text=True)
    keys, size = map(int, told.stdout.split())
    assert keys == 1_000_000
    assert size <= 64 * 2**20
