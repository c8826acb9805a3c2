"""Who has an address that the admin API was to have: asked of whoever answers there."""

from __future__ import annotations

import http.client
import json
import socket
from contextlib import closing
from typing import Final

from hotswap.core.address import Address, TcpAddress, UnixAddress, ip_of

PATIENCE: Final = 1.0
"""Seconds for each step of the question; the process that asks is at its start, and has nothing else to do."""

_MOST: Final = 16 * 1024 * 1024


def tell_neighbour(address: Address) -> str:
    """Say which hotswap has an address, as "a hotswap already runs here: CONFIG, pid N"; blocks.

    Returns:
        The words; empty when it is no hotswap, or does not answer.
    """
    try:
        with closing(_connect(address)) as caller:
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


def _connect(address: Address) -> http.client.HTTPConnection:
    match address:
        case TcpAddress(host=host, port=port):
            ip = ip_of(host)
            if ip is not None and ip.is_unspecified:
                host = "::1" if ip.version == 6 else "127.0.0.1"
            return http.client.HTTPConnection(host, port, timeout=PATIENCE)
        case UnixAddress(path=path):
            connection = http.client.HTTPConnection("localhost", timeout=PATIENCE)
            connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.sock.settimeout(PATIENCE)
                connection.sock.connect(path)
            except OSError:
                connection.close()
                raise
            return connection
