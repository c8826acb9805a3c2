"""Who has an address that the admin API was to have: asked of whoever answers there."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from typing import Final

from hotswap.control.admin.calling import connection_to
from hotswap.core.address import Address, reachable

PATIENCE: Final = 1.0
"""Seconds for each step of the question; the process that asks is at its start, and has nothing else to do."""

_MOST: Final = 16 * 1024 * 1024


def tell_neighbour(address: Address) -> str:
    """Say which hotswap has an address, as "a hotswap already runs here: CONFIG, pid N"; blocks.

    Returns:
        The words; empty when it is no hotswap, or does not answer.
    """
    try:
        with closing(connection_to(reachable(address), PATIENCE)) as caller:
            caller.request("GET", "/v1/status", headers={"Connection": "close"})
            answer = caller.getresponse()
            found = json.loads(answer.read(_MOST))
    except (OSError, http.client.HTTPException, ValueError):
        return ""
    if not isinstance(found, dict):
        return ""
    if answer.status == 200 and isinstance(found.get("config"), str) and isinstance(found.get("pid"), int):
        return f"a hotswap already runs here: {found['config']}, pid {found['pid']}"
    if answer.status == 401 and found.get("code") == "token-required":
        return "a hotswap already runs here; which one, it tells those who have its token"
    return ""
