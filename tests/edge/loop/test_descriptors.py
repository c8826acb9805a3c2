"""What this process may still open."""

from __future__ import annotations

import os
import resource
import sys

from hotswap.core.room import client_descriptors, upstream_descriptors
from hotswap.edge.loop import descriptors


def test_the_limit_is_the_kernels():
    """The soft one, that it goes by."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert descriptors.limit() == (sys.maxsize if soft == resource.RLIM_INFINITY else soft)


def test_backends_have_descriptors_that_clients_have_not(monkeypatch):
    """And the last ones are the operator's."""
    monkeypatch.setattr(descriptors, "limit", lambda: 1024)
    between = client_descriptors(1024)
    assert descriptors.for_client(between - 1, lambda: between)
    assert not descriptors.for_client(between, lambda: between)
    assert descriptors.for_upstream(between)
    assert not descriptors.for_upstream(upstream_descriptors(1024))


def test_what_is_open_otherwise_is_not_held_against_clients(monkeypatch):
    """Who has what is asked only when it matters."""
    monkeypatch.setattr(descriptors, "limit", lambda: 1024)

    def never() -> int:
        raise AssertionError("it does not matter yet")

    assert descriptors.for_client(10, never)
    assert descriptors.for_client(client_descriptors(1024), lambda: 10)


def test_room_is_what_the_next_descriptor_says():
    """It is opened for that, and closed."""
    reading, writing = os.pipe()
    try:
        before = os.dup(reading)
        os.close(before)
        assert descriptors.room_for_client(reading, lambda: 0)
        after = os.dup(reading)
        os.close(after)
        assert before == after
        assert not descriptors.room_for_client(-1, lambda: 0)
    finally:
        os.close(reading)
        os.close(writing)
