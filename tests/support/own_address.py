"""An address that nobody else is given, for tests that look who is behind it when it was left.

A port that the kernel chose is soon given to the next one who asks for any, and the tests of a busy suite ask hundreds
of times a second.
"""

from __future__ import annotations

import os

from hotswap.core.address import TcpAddress


def own_address() -> TcpAddress:
    """An address of this machine's loopback network that belongs to this process."""
    high, middle, low = (os.getpid() & 0xFFFFFF).to_bytes(3, "big")
    return TcpAddress(f"127.{high}.{middle}.{low}", 8000)
