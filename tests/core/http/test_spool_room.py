"""Room that the bodies of a pool share."""

from __future__ import annotations

from hotswap.core.http.spool_room import MEMORY_BYTES, SCARCE_BYTES, SHARED_MEMORY_BYTES, SpoolRoom


def test_files_take_no_more_than_the_limit():
    """To the byte, and what is given back can be had again."""
    room = SpoolRoom(100, lambda why: None)
    assert room.reserve(60)
    assert not room.reserve(41)
    assert room.reserve(40)
    room.give_back(60)
    assert room.filed == 40
    assert room.reserve(60)


def test_a_limit_that_became_lower_holds_for_what_follows():
    """As after a reload of the configuration."""
    room = SpoolRoom(100, lambda why: None)
    assert room.reserve(60)
    room.limit = 50
    assert not room.reserve(1)
    room.give_back(60)
    assert room.reserve(50)


def test_memory_is_shared_by_all():
    """When much of it is taken, a body goes to its file sooner."""
    room = SpoolRoom(100, lambda why: None)
    assert room.memory_for_one == MEMORY_BYTES
    room.memory = SHARED_MEMORY_BYTES + 1
    assert room.memory_for_one == SCARCE_BYTES
