"""What a proxy is given to be configured with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ADDRESS = "127.0.0.1"
STATIC_FILE = "20k"
STATIC_BYTES = 20 * 1024
STREAM_PREFIX = "/stream/"
# Room for 10,000 idle connections and those that work.
CONNECTION_LIMIT = 12_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Where to listen, what to stand in front of, and where to put files.

    Attributes:
        directory: empty, for configuration, logs and state.
        plain_port: HTTP on loopback.
        tls_port: HTTP over TLS on loopback.
        admin_port: for a proxy that has an admin API.
        origin: unix socket of what answers everything but the next.
        stream: unix socket of what answers below ``/stream/``.
        certificate: PEM file of the server certificate.
        key: PEM file of its key.
        other_processors: what the proxy's own backends are to run on, so that they leave its processor to it; empty
            means any.
    """

    directory: Path
    plain_port: int
    tls_port: int
    admin_port: int
    origin: Path
    stream: Path
    certificate: Path
    key: Path
    other_processors: frozenset[int] = frozenset()

    @property
    def access_log(self) -> Path:
        """Where requests are logged."""
        return self.directory / "access.log"

    def write_static(self) -> Path:
        """Make a directory with the file that is answered below ``/static/``, and return its path."""
        directory = self.directory / "static"
        directory.mkdir(exist_ok=True)
        (directory / STATIC_FILE).write_bytes(bytes(STATIC_BYTES))
        return directory

    def write(self, name: str, text: str) -> str:
        """Write a file of the configuration and return its path."""
        path = self.directory / name
        path.write_text(text, encoding="utf-8")
        return str(path)
