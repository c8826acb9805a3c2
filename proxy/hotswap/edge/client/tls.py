"""TLS contexts of listeners: certificates from files, selected by SNI, or self-signed.

A context is made anew when the configuration is read again; connections keep the one they began with.
"""

from __future__ import annotations

import contextlib
import ssl
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hotswap.core.certificate_names import CertificateNames
from hotswap.core.errors import ConfigError, Problem
from hotswap.wire.client_hello import ClientHello

if TYPE_CHECKING:
    from hotswap.core.certificate_facts import CertificateFacts
    from hotswap.core.config import TlsTable
    from hotswap.core.config.listeners import CertificateTable

CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secrecy and authenticated encryption only, none of HTTP/2's block list (RFC 9113 9.2.2)."""

GROUPS: Final = ("X25519MLKEM768:X25519:P-256:P-384", "X25519:P-256:P-384")
"""Groups for the exchange of keys, the first of these lists that OpenSSL knows: every client has one of them, and the
two that cost a server many times as much (X448 and P-521) are left out."""

AUTHORITY: Final = "development-ca.pem"
"""The file name of the certificate of the development authority."""


class ServerContext(ssl.SSLContext):
    """SSL context of a listener, or of one of its certificates.

    Which one is for a client is decided before `ssl` sees anything of it. A callback of OpenSSL could do that too, but
    of names that are not ASCII, and of what it raises, it only tells on stderr.

    Attributes:
        may_ask_for: whether requests for a host may come over its connections; None where clients were not told apart
            by name.
        speaks: the protocols that are chosen from by ALPN.
        names: of its certificates, where a listener has several.
        contexts: for each of these certificates.
        facts: of every certificate of the listener; of the context of the listener alone.
    """

    may_ask_for: Callable[[bytes], bool] | None = None
    speaks: Collection[bytes] = ()
    names: CertificateNames | None = None
    contexts: Sequence[ServerContext] = ()
    facts: tuple[CertificateFacts, ...] = ()

    def serves(self, hello: ClientHello) -> bool:
        """Whether the client offers a protocol that is spoken; no ALPN means HTTP/1.1 (RFC 7301 3.2)."""
        return hello.protocols is None or any(protocol in self.speaks for protocol in hello.protocols)

    def context_for(self, hello: ClientHello) -> ServerContext:
        """The context with the certificate for a server name."""
        if self.names is None or hello.server_name is None:
            return self
        return self.contexts[self.names.choose(hello.server_name.decode("latin-1"))]


def open_context(table: TlsTable, *, http2: bool, authority_dir: Path, where: str) -> ssl.SSLContext:
    """Create the context of a listener.

    Args:
        table: its `tls` table.
        http2: whether to offer `h2`.
        authority_dir: where the development authority is kept.
        where: key path of the table, for messages.

    Raises:
        ConfigError: a file cannot be read, or written, or does not hold what it should; or this process has not
            needed certificates so far, and what reads them was removed since it was started.
    """
    try:
        from hotswap.edge.client.certificates import facts_of
    except ImportError as error:
        allowed = f"left out until the proxy is started anew; its package {error.name} is gone from {sys.prefix}"
        asked = ", ".join(table.self_signed or [files.cert for files in table.certificates])
        raise ConfigError([Problem(where, asked, allowed)]) from error
    if table.self_signed:
        return _self_signed(table, http2=http2, path=authority_dir / AUTHORITY, where=where)
    contexts: list[ServerContext] = []
    facts: list[CertificateFacts] = []
    problems: list[Problem] = []
    for index, files in enumerate(table.certificates):
        try:
            contexts.append(_loaded(table, files, http2=http2))
            facts.append(facts_of(Path(files.cert).read_bytes(), file=str(files.cert)))
        except (OSError, ValueError) as error:
            allowed = f"a PEM certificate chain and its private key; {_reason(error)}"
            problems.append(Problem(f"{where}.certificates[{index}]", f"{files.cert}, {files.key}", allowed))
    if problems:
        raise ConfigError(problems)
    if len(contexts) == 1:
        contexts[0].facts = tuple(facts)
        return contexts[0]
    certificates = CertificateNames([each.names for each in facts])
    for index, context in enumerate(contexts):
        context.may_ask_for = certificates.shown(index)
    # For those who name nobody: the first certificate too, and nothing is held against them later.
    nameless = _loaded(table, table.certificates[0], http2=http2)
    nameless.names, nameless.contexts, nameless.facts = certificates, contexts, tuple(facts)
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
    protocols = ["h2", "http/1.1", "http/1.0"] if http2 else ["http/1.1", "http/1.0"]
    context.set_alpn_protocols(protocols)
    context.speaks = frozenset(protocol.encode() for protocol in protocols)
    choose_groups(context)
    return context


def choose_groups(context: object) -> bool:
    """Set the key exchange groups, where `ssl` has a call for it (Python 3.15).

    Returns:
        Whether they are chosen; otherwise they are those that OpenSSL was built with.
    """
    set_groups: Callable[[str], None] | None = getattr(context, "set_groups", None)
    if set_groups is not None:
        for groups in GROUPS:
            with contextlib.suppress(ssl.SSLError, ValueError):  # this OpenSSL does not know one of them
                set_groups(groups)
                return True
    return False


def _self_signed(table: TlsTable, *, http2: bool, path: Path, where: str) -> ssl.SSLContext:
    """Issue a certificate for development from the authority in a file."""
    from hotswap.edge.client.certificates import development_authority, facts_of

    try:
        authority = development_authority(path)
    except (OSError, ValueError) as error:
        why = f"an authority that hotswap made ({_reason(error)}); it makes a new one when the file is not there"
        raise ConfigError([Problem(f"{where}.self_signed", str(path), why)]) from error
    context = _context(table, http2=http2)
    issued = authority.issue_cert(*table.self_signed)
    issued.configure_cert(context)
    context.facts = (facts_of(issued.cert_chain_pems[0].bytes(), file=None),)
    return context


def _reason(error: OSError | ValueError) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
