"""Credentials that were found right, so that a request of somebody who has logged in costs no hash."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hotswap.core.http.password_hash import PasswordHash

_SECRET: Final = secrets.token_bytes(32)
"""Key of the digests, of this process alone."""

MOST_KNOWN: Final = 4096
KNOWN_SECONDS: Final = 600.0
"""How many are known, and for how long after they were verified."""


def digest_of(value: bytes) -> bytes:
    """Give the keyed digest by which credentials are known: no password is kept."""
    return blake2b(value, digest_size=16, key=_SECRET).digest()


class KnownCredentials:
    """Digests of credentials, each with the user and the hash that they were verified by.

    They hold for as long as the user has that hash, so a reload that leaves a user's line as it was logs nobody out.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[str, PasswordHash, float]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def hold(self, digest: bytes, users: Mapping[str, PasswordHash], now: float) -> bool:
        """Tell whether credentials are right for one of these users.

        Args:
            digest: of the credentials.
            users: the hash of each one's password, as it is now.
            now: seconds.
        """
        known = self._known.get(digest)
        if known is None:
            return False
        user, hashed, until = known
        if now >= until:
            del self._known[digest]
            return False
        return users.get(user) == hashed

    def add(self, digest: bytes, user: str, hashed: PasswordHash, now: float) -> None:
        """Take credentials for right from now on; of too many, the oldest are forgotten."""
        self._known.pop(digest, None)
        if len(self._known) >= MOST_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[digest] = (user, hashed, now + KNOWN_SECONDS)
