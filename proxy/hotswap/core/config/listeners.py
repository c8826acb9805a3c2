"""Tables of public sockets: `[listeners.NAME]` and its parts."""

from __future__ import annotations

from enum import IntEnum, StrEnum

from pydantic import Field

from hotswap.core.address import Address
from hotswap.core.config.bind import Bind, SocketTable
from hotswap.core.config.fields import (
    CertificateName,
    Count,
    Duration,
    FilePath,
    Flag,
    Network,
    Period,
    PortNumber,
    Positive,
    Size,
    SizeLimit,
    SizeOrNone,
    Table,
)
from hotswap.core.socket_permissions import SocketPermissions


class CertificateTable(Table):
    """One certificate with its key, both PEM."""

    cert: FilePath = Field(min_length=1)
    """File with the certificate and the chain below it."""

    key: FilePath = Field(min_length=1)
    """File with the private key, not encrypted."""


class TlsVersion(StrEnum):
    """The oldest version of TLS that is spoken."""

    TLS_1_2 = "1.2"
    TLS_1_3 = "1.3"


class TlsTable(Table):
    """TLS of a listener: `certificates` or `self_signed`, never both."""

    certificates: tuple[CertificateTable, ...] = ()
    """Chosen by the name the client asks for (SNI); the first one answers where no name fits."""

    self_signed: tuple[CertificateName, ...] = ()
    """Names and IP addresses for a development certificate, made at start by an authority of this user's,
    kept in $XDG_DATA_HOME/hotswap (default: ~/.local/share/hotswap; for a service $STATE_DIRECTORY); with `proxy.user`,
    or where that cannot be written, in `proxy.state_dir`. A copy of its certificate is in `proxy.state_dir` always."""

    minimum_version: TlsVersion = TlsVersion.TLS_1_2
    """The oldest version of TLS that is spoken."""

    hsts: Duration = 0.0
    """For how long browsers are told to come by HTTPS only (Strict-Transport-Security: max-age), such as "365d"; "0s":
    nothing is said. An app that says it itself is left alone."""


class LimitsTable(Table):
    """What one client may cost."""

    header_bytes: Size = 65536
    """Request line and header fields together; 431 above that (414 where the request line is the reason)."""

    headers: Positive = 100
    """Number of header fields; 431 above that."""

    body_bytes: SizeLimit = None
    """Body of a request; 413 above that."""

    header_timeout: Period = 10.0
    """From the first byte of a request to the end of its header, and the TLS handshake; 408 after that."""

    idle_timeout: Period = 75.0
    """How long a connection may be idle, between requests or in the middle of a body, before it is closed."""

    connections: Positive = 10000
    """Connections at the same time; above that the listener stops accepting until one ends, or closes some that were
    idle for five seconds, of the client with the most of them first. Where a process may open fewer files than that
    (`ulimit -Hn`, `LimitNOFILE=`), idle connections make room sooner."""

    connections_per_client: Count = 0
    """Connections of one client address at the same time; one more is closed at once. 0 is unlimited, as with nginx and
    Caddy: a whole company may come from one address, and idle connections keep nobody out."""

    requests_per_connection: Count = 1000
    """Requests that one HTTP/1.x connection serves before it is closed in order, as with nginx. 0 is unlimited."""

    body_rate: SizeOrNone = 0
    """Bytes a second that a request's body must bring on average once ten seconds were spent waiting for it; 408 below
    that. Time for which the proxy or the backend does not read is not counted. "0B" asks for nothing."""


class RedirectScheme(StrEnum):
    """Where a redirect points to."""

    HTTP = "http"
    HTTPS = "https"


class RedirectStatus(IntEnum):
    """Statuses that redirect; 307 and 308 keep method and body."""

    MOVED_PERMANENTLY = 301
    FOUND = 302
    TEMPORARY_REDIRECT = 307
    PERMANENT_REDIRECT = 308


class RedirectTable(Table):
    """Answer every request with a redirect to the same host and path."""

    scheme: RedirectScheme = RedirectScheme.HTTPS
    """Scheme of the location."""

    port: PortNumber | None = None
    """Port of the location; default: that of the scheme, which is then not written."""

    status: RedirectStatus = RedirectStatus.MOVED_PERMANENTLY
    """301, 302, 307 or 308."""


class ListenerTable(Table):
    """A named public socket that the proxy owns."""

    bind: Bind
    """Addresses to listen on; `[::]` takes IPv6 only, so both families need both lines. A Unix socket may be a table,
    `{ path = "/run/shop.sock", mode = "0660", owner = "", group = "www-data" }`: who may write may connect. They
    are in force before anybody can connect, and a reload changes them; one of the service manager keeps its own."""

    http2: Flag = True
    """Speak HTTP/2 with clients that ask for it: by ALPN with `tls`, without by beginning with its preface."""

    proxy_protocol: Flag = False
    """Expect PROXY protocol v1 or v2 before everything else; a connection without it is closed."""

    trusted_proxies: tuple[Network, ...] = ()
    """Networks whose X-Forwarded-* or Forwarded are believed (X-Forwarded-For where it comes; the other is made of it);
    those of everyone else are replaced."""

    tls: TlsTable | None = None
    """TLS; without this table the listener speaks plain HTTP."""

    limits: LimitsTable = LimitsTable()
    """What one client may cost."""

    compress: Flag = True
    """Compress answers with zstd or gzip: text of 1 KiB and more whose answer says nothing against it (a
    Content-Encoding, `Cache-Control: no-transform`, a range, a digest), for clients that ask for it; never streams of
    events."""

    redirect: RedirectTable | None = None
    """Make this a bounce listener, which redirects every request and has no routes."""

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where it listens, in order."""
        return tuple(entry.path if isinstance(entry, SocketTable) else entry for entry in self.bind)

    @property
    def permissions(self) -> tuple[SocketPermissions | None, ...]:
        """What each of these asks for."""
        return tuple(entry.permissions if isinstance(entry, SocketTable) else None for entry in self.bind)
