"""Addresses of listeners as links that a terminal or a browser can open."""

from __future__ import annotations

from collections.abc import Iterable

from hotswap.core.address import Address, TcpAddress, ip_of

USUAL_PORTS = {"http": 80, "https": 443}


def links_to(addresses: Iterable[Address], *, tls: bool, name: str = "", loopback: bool = True) -> list[str]:
    """Give a link for each address, or the address itself where no browser can go, each once.

    Args:
        addresses: where somebody listens.
        tls: it speaks TLS.
        name: a host name of its certificate, used where an address is of this machine alone or of all its interfaces.
        loopback: use the name for addresses of this machine alone.
    """
    scheme = "https" if tls else "http"
    found: dict[str, None] = {}
    for address in addresses:
        if isinstance(address, TcpAddress):
            where = TcpAddress(_host(address.host, name, loopback=loopback), address.port)
            shown = str(where).rpartition(":")[0] if address.port == USUAL_PORTS[scheme] else str(where)
            found[f"{scheme}://{shown}/"] = None
        else:
            found[str(address)] = None
    return list(found)


def _host(host: str, name: str, *, loopback: bool) -> str:
    ip = ip_of(host)
    if ip is not None and ip.is_unspecified:
        return name or "localhost"
    return name if name and loopback and ip is not None and ip.is_loopback else host
