"""Bounded cache of a function's values for short keys, which peers send.

`functools.lru_cache` bounds the number of its keys and not their bytes: 256 values of 64 KiB, taken apart, are hundreds
of MiB that no end of a connection gives back. A long key is worked out anew each time here, which costs its sender as
much as everybody else. A full memory is emptied, which is cheaper than an order of eviction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Memory(dict[bytes, Value], Generic[Value]):
    """Cache of a pure function; `memory[key]`, or `memory.__getitem__` to be called.

    Args:
        function: what is remembered. It must be pure; what it raises is not remembered.
        entries: how many keys are kept.
        key_bytes: longer keys are not.
    """

    __slots__ = ("_entries", "_function", "_key_bytes")

    def __init__(self, function: Callable[[bytes], Value], *, entries: int, key_bytes: int) -> None:
        super().__init__()
        self._function = function
        self._entries = entries
        self._key_bytes = key_bytes

    def __missing__(self, key: bytes) -> Value:
        value = self._function(key)
        if len(key) <= self._key_bytes:
            if len(self) >= self._entries:
                self.clear()
            self[key] = value
        return value
