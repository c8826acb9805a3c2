"""Reads and issues certificates; imported only when a listener has one, because `cryptography` is slow to import."""

from __future__ import annotations

import os
import secrets
from datetime import datetime
from pathlib import Path

import trustme
from cryptography import x509


def names_of(pem: bytes) -> tuple[str, ...]:
    """DNS names that a certificate covers."""
    certificate = x509.load_pem_x509_certificates(pem)[0]
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return tuple(extension.value.get_values_for_type(x509.DNSName))


def expiry_of(pem: bytes) -> datetime:
    """When a certificate ends: the first of a chain, which is the one that clients are shown for the name; in UTC."""
    return x509.load_pem_x509_certificates(pem)[0].not_valid_after_utc


def development_authority(certificate: Path) -> trustme.CA:
    """Load the authority for self-signed certificates from its file, or create it there.

    The file holds the certificate, to be trusted by whoever tests, and next to it, readable by the owner only, the key.
    """
    key = certificate.with_suffix(".key")
    if certificate.exists() and key.exists():
        return trustme.CA.from_pem(cert_bytes=certificate.read_bytes(), private_key_bytes=key.read_bytes())
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA, organization_name="hotswap development")
    certificate.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _put(key, authority.private_key_pem.bytes(), mode=0o600)
    _put(certificate, authority.cert_pem.bytes(), mode=0o644)
    return authority


def _put(path: Path, content: bytes, *, mode: int) -> None:
    """Write a file atomically; a symbolic link of that name is replaced and not followed, since root may run this."""
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    fresh.rename(path)
