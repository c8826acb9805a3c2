"""Certificates for one test: an authority that only its clients trust."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """Files for the server's side; for the client's a context, and the file of the authority."""

    cert: Path
    key: Path
    authority: Path
    trusting: ssl.SSLContext


def issue_certificate(directory: Path, *names: str) -> Certificates:
    """Issue a certificate for these names (default: localhost) and write it and its key into the directory."""
    authority = trustme.CA()
    issued = authority.issue_cert(*(names or ("localhost",)))
    cert, key = directory / "cert.pem", directory / "key.pem"
    for number, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(cert, append=number > 0)
    issued.private_key_pem.write_to_path(key)
    key.chmod(0o600)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    trusted = directory / "authority.pem"
    authority.cert_pem.write_to_path(trusted)
    return Certificates(cert=cert, key=key, authority=trusted, trusting=trusting)


class Names:
    """An authority, certificates of it in a folder, and a context for clients that trust it."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self.folder = folder
        self.client = ssl.create_default_context()
        self.authority.configure_trust(self.client)

    def files(self, *names: str) -> dict[str, str]:
        """A certificate for these names, as the configuration lists it."""
        issued = self.authority.issue_cert(*names)
        cert, key = self.folder / f"{names[0]}.pem", self.folder / f"{names[0]}.key"
        issued.cert_chain_pems[0].write_to_path(cert)
        issued.private_key_pem.write_to_path(key)
        return {"cert": str(cert), "key": str(key)}
