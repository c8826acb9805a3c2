"""Which idle connections end when somebody else needs the room."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from hotswap.core.room import SHARE_AT_ONCE, Idle, choose_to_end, client_descriptors, upstream_descriptors

IDLE = st.builds(
    Idle,
    connection=st.integers(),
    client=st.sampled_from("abcd"),
    since=st.floats(0, 1000),
    asked=st.booleans(),
)


def test_something_is_kept_from_clients_and_something_from_backends():
    """Whatever the limit is."""
    for limit in (16, 64, 256, 1024, 20_000, 1 << 30):
        assert 0 < client_descriptors(limit) < upstream_descriptors(limit) < limit
    assert client_descriptors(1 << 20) == (1 << 20) - 1024


def test_what_others_have_open_is_not_counted_against_clients():
    """Found: with three quarters of a limit taken by processes of backends nobody was accepted any more."""
    assert client_descriptors(1024) == 768
    assert client_descriptors(1024, others=900) == 1024 - 31
    assert client_descriptors(1024, others=1024) == 1024


def test_one_client_with_thousands_is_chosen_before_those_with_a_few():
    """However long theirs have been idle."""
    few = [Idle(f"few {number}", f"client {number // 3}", 0.0, asked=False) for number in range(30)]
    many = [Idle(f"many {number}", "flood", 999.0, asked=True) for number in range(2000)]
    chosen = choose_to_end([*few, *many])
    assert len(chosen) == -(-2030 // SHARE_AT_ONCE)
    assert all(name.startswith("many") for name in chosen)


def test_of_one_client_those_that_never_asked_go_first_the_newest_before_the_others():
    """Who was there before the flood is spared; of those that did ask, the longest idle goes first."""
    silent = [Idle(f"silent {since}", "a", float(since), asked=False) for since in range(16)]
    assert choose_to_end(silent) == ["silent 15"]
    served = [Idle(f"served {since}", "a", float(since), asked=True) for since in range(16)]
    assert choose_to_end([*served, *silent]) == ["silent 15", "silent 14"]
    assert choose_to_end(served) == ["served 0"]


def test_of_nothing_nothing_is_chosen():
    """And of one, this one."""
    assert choose_to_end([]) == []
    assert choose_to_end([Idle("only", "a", 0.0)]) == ["only"]


@given(st.lists(IDLE, max_size=60))
def test_nobody_loses_a_connection_while_another_has_more_to_lose(idle):
    """As many as the share says, each once; who has lost any has none the less than anybody else, but one."""
    numbered = [Idle(number, one.client, one.since, asked=one.asked) for number, one in enumerate(idle)]
    chosen = choose_to_end(numbered)
    assert len(chosen) == len(set(chosen)) == -(-len(idle) // SHARE_AT_ONCE)
    left = Counter(one.client for one in numbered if one.connection not in chosen)
    for number in chosen:
        assert left[numbered[number].client] + 1 >= max(left.values(), default=0)
