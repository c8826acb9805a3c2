"""Reads and issues certificates; imported only when a listener has one, because `cryptography` is slow to import."""

from __future__ import annotations

import fcntl
import os
import secrets
from contextlib import suppress
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from hotswap.core.certificate_facts import CertificateFacts


def facts_of(pem: bytes, *, file: str | None) -> CertificateFacts:
    """Read whom a certificate is for and until when.

    Args:
        pem: the chain, whose first certificate it is.
        file: where it came from.

    Raises:
        ValueError: there is no certificate in it.
    """
    certificate = x509.load_pem_x509_certificates(pem)[0]
    names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    with suppress(x509.ExtensionNotFound):
        value = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = tuple(value.get_values_for_type(x509.DNSName))
        addresses = tuple(str(address) for address in value.get_values_for_type(x509.IPAddress))
    return CertificateFacts(names=names, addresses=addresses, expires=certificate.not_valid_after_utc, file=file)


def development_authority(certificate: Path) -> trustme.CA:
    """Load the authority for self-signed certificates from its file, or create it there.

    The file holds the certificate, to be trusted by whoever tests, and next to it, readable by the owner only, the key.
    Of several processes that come at once one creates it.

    Raises:
        OSError: it can neither be read nor created.
        ValueError: it is none, or its key is another's.
    """
    key = certificate.with_suffix(".key")
    if not (certificate.exists() and key.exists()):
        certificate.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(certificate.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(lock, "wb") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            if not (certificate.exists() and key.exists()):
                _create_authority(certificate, key)
    content, secret = certificate.read_bytes(), key.read_bytes()
    made_for = x509.load_pem_x509_certificate(content).public_key()
    if load_pem_private_key(secret, password=None).public_key() != made_for:
        raise ValueError(f"the key in {key.name} is another's")
    return trustme.CA.from_pem(cert_bytes=content, private_key_bytes=secret)


def _create_authority(certificate: Path, key: Path) -> None:
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA, organization_name="hotswap development")
    # Whoever finds both finds what belongs together.
    certificate.unlink(missing_ok=True)
    _put(key, authority.private_key_pem.bytes(), mode=0o600)
    _put(certificate, authority.cert_pem.bytes(), mode=0o644)


def _put(path: Path, content: bytes, *, mode: int) -> None:
    """Write a file atomically; a symbolic link of that name is replaced and not followed, since root may run this."""
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    fresh.rename(path)
