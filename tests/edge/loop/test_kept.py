"""What waits for a peer: it comes out as it went in, and small pieces cost what large ones do."""

from __future__ import annotations

import sys

from hypothesis import given
from hypothesis import strategies as st

from hotswap.edge.loop.kept import JOINED_BYTES, Kept

PIECES = st.lists(st.tuples(st.sampled_from(["add", "drop"]), st.integers(1, 3 * JOINED_BYTES // 2)), max_size=40)


@given(PIECES)
def test_it_is_a_queue_of_bytes(steps):
    """Whatever is added and dropped in whatever order."""
    kept, model, number = Kept(), bytearray(), 0
    for verb, size in steps:
        if verb == "add":
            number += 1
            data = bytes([number % 256]) * size
            kept.add(memoryview(data) if number % 2 else data)
            model += data
        else:
            with kept.first(size) if model else memoryview(b"") as first:
                assert bytes(first) == model[: len(first)]
            count = min(size, len(model))
            kept.drop(count)
            del model[:count]
        assert kept.size == len(model)
        assert b"".join(kept.pieces) == model
        assert len(kept.pieces) <= 2 * kept.size // JOINED_BYTES + 2
    kept.clear()
    assert (kept.size, kept.pieces) == (0, [])


def test_single_bytes_are_kept_like_one_piece():
    """A quarter of a mebibyte of them, in memory and in number."""
    kept = Kept()
    for _ in range(256 * 1024):
        kept.add(b"x")
    assert len(kept.pieces) == 4
    assert sum(map(sys.getsizeof, kept.pieces)) < 300 * 1024


def test_what_is_kept_is_a_copy():
    """The buffer that was read into is read into again."""
    buffer = bytearray(b"abc")
    kept = Kept()
    kept.add(memoryview(buffer))
    buffer[:] = b"xyz"
    assert b"".join(kept.pieces) == b"abc"
