"""What will disappoint although the configuration is right: told by `hotswap check`, at the start and by a reload."""

from __future__ import annotations

import os
import resource
import stat
from collections.abc import Iterator
from contextlib import suppress

from structlog.typing import FilteringBoundLogger

from hotswap.control.configuration.outside import read_within
from hotswap.core.config import Configuration
from hotswap.core.room import client_descriptors


def find_cautions(config: Configuration) -> Iterator[str]:
    """Say what an operator should know before it shows, one sentence each, as far as this process can tell."""
    yield from _descriptors(config)
    if os.geteuid() == 0 and not config.proxy.user:
        yield (
            "proxy.user is not set and this is root: the proxy and every backend would stay root; name a user, or "
            "start it as one with CAP_NET_BIND_SERVICE"
        )
    for name, listener in config.listeners.items():
        for certificate in () if listener.tls is None else listener.tls.certificates:
            with suppress(OSError):  # told elsewhere
                if _mode_of(certificate.key) & stat.S_IROTH:
                    yield f"the key {certificate.key} of listener {name} can be read by every user; chmod o= it"


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
