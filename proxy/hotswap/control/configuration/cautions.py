"""What will disappoint although the configuration is right: told by `hotswap check`, at the start and by a reload."""

from __future__ import annotations

import os
import resource
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from structlog.typing import FilteringBoundLogger

from hotswap.control.configuration.file_cautions import find_file_cautions
from hotswap.control.configuration.outside import read_file, read_within
from hotswap.control.configuration.path import release_link, through_current
from hotswap.core.address import TcpAddress
from hotswap.core.certificate_facts import CertificateFacts
from hotswap.core.config import Configuration, SupervisedPoolTable
from hotswap.core.config.conflicts import is_loopback
from hotswap.core.room import client_descriptors
from hotswap.core.strategy import Strategy

EXPIRY_NOTICE: Final = timedelta(days=14)
"""So long before its end a certificate is warned of: whatever renews it should have done so by then."""

LARGEST_CHAIN: Final = 1024 * 1024
"""Bytes of a certificate file that are looked at."""


def find_cautions(config: Configuration) -> Iterator[str]:
    """Say what an operator should know before it shows, one sentence each, as far as this process can tell."""
    yield from _descriptors(config)
    if os.geteuid() == 0 and not config.proxy.user:
        yield (
            "proxy.user is not set and this is root: the proxy and every backend would stay root; name a user, or "
            "start it as one with CAP_NET_BIND_SERVICE"
        )
    yield from find_state_in_release(config)
    yield from find_unused_pools(config)
    yield from find_shadowed_routes(config)
    yield from find_refused_reloads(config)
    yield from find_public_development(config)
    yield from find_file_cautions(config)
    for name, listener in config.listeners.items():
        for certificate in () if listener.tls is None else listener.tls.certificates:
            with suppress(OSError):  # told elsewhere
                if _mode_of(certificate.key) & stat.S_IROTH:
                    yield f"the key {certificate.key} of listener {name} can be read by every user; chmod o= it"


def find_state_in_release(config: Configuration) -> Iterator[str]:
    """Say that the state goes with the release that it is in, reached by a link that a deploy moves on."""
    place = config.proxy.state_dir
    with suppress(OSError):  # told elsewhere
        link = read_within(lambda: release_link(place), place, timeout=0.1)
        if link is not None:
            yield (
                f"proxy.state_dir is {place}, in the release that the link {link} leads to: it stays there when the "
                f'link is moved, and is lost with that release; set state_dir = "{link.parent}/.hotswap" in [proxy]'
            )


def find_pinned_release(path: Path) -> Iterator[str]:
    """Say that a configuration was named by its release, although a link leads there that a deploy moves on.

    Args:
        path: absolute path of the configuration.
    """
    with suppress(OSError):  # told elsewhere
        through = read_within(lambda: None if release_link(path) else through_current(path), str(path), timeout=0.1)
        if through is not None:
            yield (
                f"{path} is what every reload reads, also when a deploy has moved the link that leads to it now; "
                f"to follow the link, start with {through}"
            )


def find_unused_pools(config: Configuration) -> Iterator[str]:
    """Say which pools no request can reach."""
    routed = {route.pool for route in config.routes}
    for name in config.pools:
        if name not in routed:
            yield f"pools.{name}: no route names this pool, so its backends run for nothing"


def find_shadowed_routes(config: Configuration) -> Iterator[str]:
    """Say which routes for any host a host of others never comes to, where no route for any host has every path.

    Where one has, the hosts that are named are exceptions, and meant; so are those that are redirected.
    """
    if any(not route.hosts and route.path == "/" for route in config.routes):
        return
    for index, route in enumerate(config.routes):
        inside = f"{route.path.rstrip('/')}/"
        for other, before in enumerate(() if route.hosts else config.routes):
            if before.hosts and not before.redirect and inside.startswith(f"{before.path.rstrip('/')}/"):
                yield (
                    f"routes[{index}] ({route.path}) is for any host, but no request for {before.hosts[0]} comes to "
                    f"it: one with hosts, as routes[{other}], is asked before all without; give both the same hosts"
                )
                break


def find_refused_reloads(config: Configuration) -> Iterator[str]:
    """Say which pools refuse every reload while they serve, as they are configured."""
    for name, pool in config.pools.items():
        if not isinstance(pool, SupervisedPoolTable):
            continue
        if not pool.storage.shared:
            yield (
                f"pools.{name}.storage.shared is false: every reload is refused while a backend serves "
                "(storage-exclusive); new code takes a stop and a start"
            )
        elif pool.size == 1 and pool.rollout.strategy is not Strategy.SURGE:
            yield (
                f"pools.{name}.size is 1 and its strategy {pool.rollout.strategy}: every reload is refused while the "
                f'backend serves (pool-too-small); set size = 2, or strategy = "surge" in [pools.{name}.rollout]'
            )


def find_public_development(config: Configuration) -> Iterator[str]:
    """Say which listeners show others a certificate that only this machine has reason to trust."""
    for name, listener in config.listeners.items():
        if listener.tls is None or not listener.tls.self_signed:
            continue
        for address in listener.addresses:
            if isinstance(address, TcpAddress) and not is_loopback(address.host):
                yield (
                    f"listeners.{name}: a certificate for development (self_signed) at {address}, which others can "
                    "reach: their browsers refuse it; bind 127.0.0.1, or give tls.certificates"
                )
                break


def find_expiring(certificates: Iterable[tuple[str, CertificateFacts]], now: datetime) -> Iterator[str]:
    """Say which certificates have ended or end soon.

    Args:
        certificates: each with the name of its listener; those that the proxy issues itself are passed over.
        now: with a time zone.
    """
    for name, facts in certificates:
        if facts.file is not None and facts.expires - now < EXPIRY_NOTICE:
            when = f"ends in {(facts.expires - now).days} days" if now < facts.expires else "has expired"
            end = f"{facts.expires:%Y-%m-%d %H:%M} UTC"
            yield f"listeners.{name}: the certificate {facts.file} {when} ({end}); renew it"


def read_certificates(config: Configuration) -> Iterator[tuple[str, CertificateFacts]]:
    """Read the facts of the certificates that a configuration names; blocks. What cannot be read is told elsewhere."""
    for name, listener in config.listeners.items():
        for files in () if listener.tls is None else listener.tls.certificates:
            # Here, because it takes a library that is slow to load, and most have no certificate.
            from hotswap.edge.client.certificates import facts_of

            with suppress(OSError, ValueError):
                yield name, facts_of(read_file(files.cert, LARGEST_CHAIN), file=files.cert)


def _mode_of(path: str) -> int:
    # It is asked for in the loop, of the configuration before too, whose disk may be the one that went away.
    return read_within(lambda: os.stat(path).st_mode, path, timeout=0.1)


def tell_cautions(log: FilteringBoundLogger, config: Configuration, *, before: Configuration | None = None) -> None:
    """Say in the log what there is to say of a configuration, and did not have to be said of the one before."""
    known = () if before is None else tuple(find_cautions(before))
    for caution in find_cautions(config):
        if caution not in known:
            log.warning("config.caution", detail=caution)


def _descriptors(config: Configuration) -> Iterator[str]:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        return
    wanted = sum(listener.limits.connections for listener in config.listeners.values())
    room = client_descriptors(hard)
    if wanted > room:
        yield (
            f"listeners may have {wanted} connections, but with {hard} open files (ulimit -Hn, LimitNOFILE=) there is "
            f"room for {room}; beyond that idle connections are closed to make some"
        )
