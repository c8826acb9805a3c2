"""TLS contexts of listeners: certificates from files, chosen by the name a client asks for, or self-signed ones.

A context is made anew when the configuration is read again; connections keep the one they began with.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from proxy.core.certificate_names import CertificateNames, ShownCertificate
from proxy.core.errors import ConfigError, Problem

if TYPE_CHECKING:
    from proxy.core.config import TlsTable
    from proxy.core.config.listeners import CertificateTable

CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secrecy and authenticated encryption only, none of HTTP/2's block list (RFC 9113 9.2.2)."""

AUTHORITY: Final = "development-ca.pem"
"""The certificate of the development authority, in the state directory."""


class ServerContext(ssl.SSLContext):
    """The context of a listener, or that of one of its certificates.

    Attributes:
        shown: what a connection with this context was shown; None where clients were not told apart by name.
    """

    shown: ShownCertificate | None = None


def open_context(table: TlsTable, *, http2: bool, state_dir: Path, where: str) -> ssl.SSLContext:
    """Make the context of one listener.

    Args:
        table: its `tls` table.
        http2: whether to offer `h2`.
        state_dir: where the development authority is kept.
        where: key path of the table, for messages.

    Raises:
        ConfigError: a file cannot be read, or written, or does not hold what it should.
    """
    if table.self_signed:
        return _self_signed(table, http2=http2, path=state_dir / AUTHORITY, where=where)
    from proxy.edge.client.certificates import names_of

    contexts: list[ServerContext] = []
    names: list[tuple[str, ...]] = []
    problems: list[Problem] = []
    for index, files in enumerate(table.certificates):
        try:
            contexts.append(_loaded(table, files, http2=http2))
            names.append(names_of(Path(files.cert).read_bytes()))
        except (OSError, ValueError) as error:
            allowed = f"a PEM certificate chain and its private key ({_reason(error)})"
            problems.append(Problem(f"{where}.certificates[{index}]", f"{files.cert}, {files.key}", allowed))
    if problems:
        raise ConfigError(problems)
    if len(contexts) == 1:
        return contexts[0]
    certificates = CertificateNames(names)
    for index, context in enumerate(contexts):
        context.shown = ShownCertificate(certificates, index)
    # For those who name nobody: the first certificate too, and nothing is held against them later.
    nameless = _loaded(table, table.certificates[0], http2=http2)
    nameless.sni_callback = _chooser(certificates, contexts)
    return nameless


def _loaded(table: TlsTable, files: CertificateTable, *, http2: bool) -> ServerContext:
    context = _context(table, http2=http2)
    context.load_cert_chain(files.cert, files.key)
    return context


def _context(table: TlsTable, *, http2: bool) -> ServerContext:
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if table.minimum_version.value == "1.3" else ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["h2", "http/1.1"] if http2 else ["http/1.1"])
    return context


def _chooser(
    certificates: CertificateNames, contexts: Sequence[ServerContext]
) -> Callable[[ssl.SSLObject, str, ssl.SSLContext], None]:
    def choose(connection: ssl.SSLObject, name: str | None, _nameless: ssl.SSLContext) -> None:
        if name is not None:
            connection.context = contexts[certificates.choose(name)]

    return choose


def _self_signed(table: TlsTable, *, http2: bool, path: Path, where: str) -> ssl.SSLContext:
    """A certificate for development, issued by an authority kept in the state directory."""
    from proxy.edge.client.certificates import development_authority

    try:
        authority = development_authority(path)
    except (OSError, ValueError) as error:
        why = f"an authority that hotswap made ({_reason(error)}); it makes a new one when the file is not there"
        raise ConfigError([Problem(f"{where}.self_signed", str(path), why)]) from error
    context = _context(table, http2=http2)
    authority.issue_cert(*table.self_signed).configure_cert(context)
    return context


def _reason(error: OSError | ValueError) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
