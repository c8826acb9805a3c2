"""Users that a route asks to log in (`basic_auth`, RFC 7617)."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from hotswap.core.errors import Side
from hotswap.core.http.basic_credentials import authorization_of, parse_basic
from hotswap.core.http.client_address import client_key

if TYPE_CHECKING:
    from hotswap.core.http.password_hash import PasswordHash
    from hotswap.edge.rules.password_verifier import PasswordVerifier
    from hotswap.edge.rules.rule_step import Entering

_SECRET: Final = secrets.token_bytes(32)
"""Key of the digests: they say nothing of a password to who reads the memory of another process, or a dump of it."""

MOST_KNOWN: Final = 4096
KNOWN_SECONDS: Final = 600.0
"""How many credentials are known to be right, and for how long after they were verified."""


class BasicAuthStep:
    """Answers 401 to requests without the name and password of a user.

    Credentials that were verified are known for a while by a keyed digest, so that a request of somebody who has
    logged in costs no more than that. They are forgotten with this step, which is when the file is read again.

    Args:
        users: the hash of each one's password; one at least.
        realm: what the browser keeps the credentials for.
        verifier: of all routes.
    """

    __slots__ = ("_challenge", "_known", "_stranger", "_users", "_verifier")

    def __init__(self, users: Mapping[str, PasswordHash], realm: str, verifier: PasswordVerifier) -> None:
        self._users = users
        # Who asks for a user that does not exist waits as for the first one.
        self._stranger = next(iter(users.values()))
        self._verifier = verifier
        self._challenge = ((b"WWW-Authenticate", b'Basic realm="%b", charset="UTF-8"' % realm.encode()),)
        self._known: dict[bytes, float] = {}

    def take(self, exchange: Entering) -> bool:
        """Judge the credentials of a request, or have them verified."""
        value = authorization_of(exchange.head)
        if value is None:
            self.refuse(exchange, "no credentials")
            return False
        digest = blake2b(value, digest_size=16, key=_SECRET).digest()
        until = self._known.get(digest)
        if until is not None:
            if exchange.plane.poller.now < until:
                return True
            del self._known[digest]
        credentials = parse_basic(value)
        if credentials is None:
            self.refuse(exchange, "no credentials of the Basic scheme")
            return False
        hashed = self._users.get(credentials.user)
        self._verifier.ask(
            exchange,
            self,
            client=client_key(exchange.peer.client_of(exchange.head)),
            digest=digest,
            hashed=self._stranger if hashed is None else hashed,
            password=credentials.password,
            exists=hashed is not None,
        )
        return False

    def knows(self, digest: bytes) -> bool:
        """Whether credentials have been found right, not too long ago."""
        return digest in self._known

    def open(self, digest: bytes, now: float) -> None:
        """Take credentials for right from now on; of too many, the oldest are forgotten."""
        if len(self._known) >= MOST_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[digest] = now + KNOWN_SECONDS

    def refuse(self, exchange: Entering, why: str = "wrong user or password") -> None:
        """Answer 401."""
        exchange.answer(401, side=Side.DOWNSTREAM, error=why, fields=self._challenge)
