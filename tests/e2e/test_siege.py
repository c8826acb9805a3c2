"""What one hostile client costs everybody else: little of their time, and no memory once it has gone.

`python -m tests.support.siege` does the same for a minute each, and prints figures.
"""

from __future__ import annotations

import pytest

from tests.support.attacker import CROWDS, KINDS, TLS_KINDS
from tests.support.siege import open_siege

USED = 0.012
"""Seconds of a nominal machine's processor time that the proxy may work for the attacker while nine of ten answers of
somebody else are waited for. Attacks cost one to three milliseconds: two slices of a turn and what is ready between."""
MEMORY = 8.0
"""MiB that may be left of an attack; a flood of requests, each with its line in the access log, leaves 3 or 4."""
SECONDS = 0.6
"""How long each attack lasts."""


@pytest.mark.alone
@pytest.mark.fail_after(180)
async def test_no_attack_of_one_client_is_felt_by_others_or_leaves_anything(tmp_path):
    """Each way of `tests.support.attacker`, one after the other, on one proxy."""
    async with open_siege(tmp_path, seconds=1.0) as siege:
        prices = [await siege.attack(kind, seconds=SECONDS) for kind in (*KINDS, *TLS_KINDS, *CROWDS)]
    told = "".join(f"\n{price}" for price in prices)
    print(told)
    assert not [price for price in prices if price.used > USED], told
    assert not [price for price in prices if price.after > price.before + MEMORY], told
    assert not [price for price in prices if price.connections], told
