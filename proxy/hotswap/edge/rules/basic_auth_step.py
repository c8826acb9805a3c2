"""Users that a route asks to log in (`basic_auth`, RFC 7617)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from hotswap.core.errors import Side
from hotswap.core.http.basic_credentials import authorization_of, parse_basic
from hotswap.core.http.client_address import client_key
from hotswap.edge.rules.known_credentials import digest_of

if TYPE_CHECKING:
    from hotswap.core.http.password_hash import PasswordHash
    from hotswap.edge.rules.password_verifier import PasswordVerifier
    from hotswap.edge.rules.rule_step import Entering


class BasicAuthStep:
    """Answers 401 to requests without the name and password of a user.

    Credentials that were verified are known for a while, so that a request of somebody who has logged in costs no more
    than a digest.

    Args:
        users: the hash of each one's password; one at least.
        realm: what the browser keeps the credentials for.
        verifier: of all routes.
    """

    __slots__ = ("_challenge", "_stranger", "_users", "_verifier")

    def __init__(self, users: Mapping[str, PasswordHash], realm: str, verifier: PasswordVerifier) -> None:
        self._users = users
        # Who asks for a user that does not exist waits as for the first one.
        self._stranger = next(iter(users.values()))
        self._verifier = verifier
        self._challenge = ((b"WWW-Authenticate", b'Basic realm="%b", charset="UTF-8"' % realm.encode()),)

    def take(self, exchange: Entering) -> bool:
        """Judge the credentials of a request, or have them verified."""
        value = authorization_of(exchange.head)
        if value is None:
            self.refuse(exchange, "no credentials")
            return False
        digest = digest_of(value)
        if self._verifier.known.hold(digest, self._users, exchange.plane.poller.now):
            return True
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
            user=credentials.user,
            hashed=self._stranger if hashed is None else hashed,
            password=credentials.password,
            exists=hashed is not None,
        )
        return False

    def refuse(self, exchange: Entering, why: str = "wrong user or password") -> None:
        """Answer 401."""
        exchange.answer(401, side=Side.DOWNSTREAM, error=why, fields=self._challenge)
