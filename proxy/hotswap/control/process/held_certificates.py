"""Certificates that are in use and that this process may not read again: opened as root, before it became a user."""

from __future__ import annotations

import ssl
from collections.abc import Iterable

import structlog
from structlog.typing import FilteringBoundLogger

from hotswap.control.configuration.outside import is_barred
from hotswap.core.config import ListenerTable
from hotswap.edge.client.listener import OpenListener


def certificates_of(listeners: Iterable[OpenListener]) -> frozenset[tuple[str, str]]:
    """Give the files of every certificate that these listeners show, each with its key."""
    return frozenset(
        (files.cert, files.key)
        for opened in listeners
        if opened.table.tls is not None
        for files in opened.table.tls.certificates
    )


def kept_context(known: OpenListener | None, table: ListenerTable) -> ssl.SSLContext | None:
    """Give the context of a listener whose TLS stays as it is, if this user may not read its files again; blocks.

    Args:
        known: the listener as it serves; None: it is new.
        table: what it is to be.
    """
    if known is None or table.tls is None or (known.table.tls, known.table.http2) != (table.tls, table.http2):
        return None
    barred = [path for files in table.tls.certificates for path in (files.cert, files.key) if is_barred(path)]
    if not barred:
        return None
    log: FilteringBoundLogger = structlog.get_logger()
    detail = "this user may not read them again; what was loaded at the start stays in use"
    log.warning("listener.certificates_kept", listener=known.name, files=barred, detail=detail)
    return known.context
