"""Gives the URLs under which a listener is reached, for people to click on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from hotswap.core.address import Address, TcpAddress, ip_of

_USUAL: Final = {"http": 80, "https": 443}


def origins_of(addresses: Iterable[Address], *, tls: bool, names: Iterable[str] = ()) -> list[str]:
    """Give a URL for each TCP address of a listener, without repetitions; Unix sockets have none.

    Args:
        addresses: where it listens.
        tls: it speaks TLS.
        names: of its certificate; where it listens on every address of the machine, the first without a star is its
            host, or else `localhost`.
    """
    scheme = "https" if tls else "http"
    name = next((one for one in names if not one.startswith("*")), "localhost")
    found: dict[str, None] = {}
    for address in addresses:
        if isinstance(address, TcpAddress):
            ip = ip_of(address.host)
            host = name if ip is not None and ip.is_unspecified else address.host
            port = address.port
            where = f"[{host}]" if ":" in host else host
            found[f"{scheme}://{where}/" if port == _USUAL[scheme] else f"{scheme}://{where}:{port}/"] = None
    return list(found)
