"""Whom a certificate in use is for, until when, and where it came from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFacts:
    """What operators are told of a certificate.

    Attributes:
        names: DNS names that it is for; the subject is not read, as clients do not read it (RFC 9525 2).
        addresses: IP addresses that it is for.
        expires: the last moment of its validity, in UTC.
        file: where it was read from; None for one that the proxy issued itself.
    """

    names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    expires: datetime
    file: str | None = None
