r"""Hashes of passwords: bcrypt and scrypt, as other programs write them.

    $2y$10$…                            bcrypt, of `htpasswd -B`; $2a$ and $2b$ are the same
    $7$…                                scrypt, of `mkpasswd -m scrypt` (crypt(5))
    $scrypt$ln=16,r=8,p=1$salt$digest   scrypt, of passlib
    scrypt:32768:8:1$salt$digest        scrypt, of Werkzeug

What costs more than a request should is refused, since anybody may ask for it: bcrypt above a cost of 14, scrypt above
2^20 blocks or 128 MiB.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

MOST_BCRYPT_COST: Final = 14
MOST_SCRYPT_BLOCKS: Final = 1 << 20
"""N · r · p."""
MOST_SCRYPT_BYTES: Final = 1 << 27
"""128 · N · r."""

_BCRYPT_BYTES: Final = 72
"""Of a password, bcrypt knows no more; neither does who made the hash."""

_BCRYPT: Final = re.compile(r"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}")
_CRYPT: Final = re.compile(
    r"\$7\$([./0-9A-Za-z])([./0-9A-Za-z]{5})([./0-9A-Za-z]{5})([./0-9A-Za-z]{1,64})\$([./0-9A-Za-z]{43})"
)
_PASSLIB: Final = re.compile(
    r"\$scrypt\$ln=([0-9]{1,2}),r=([0-9]{1,4}),p=([0-9]{1,4})\$([A-Za-z0-9+/]{1,128})\$([A-Za-z0-9+/]{22,172})"
)
_WERKZEUG: Final = re.compile(r"scrypt:([0-9]{1,7}):([0-9]{1,4}):([0-9]{1,4})\$([!-#%-~]{1,128})\$([0-9a-f]{32,256})")
_ALPHABET: Final = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

_OTHERS: Final = (
    (r"\$apr1\$", "MD5 (apr1)"),
    (r"\$1\$", "MD5 (crypt)"),
    (r"\$5\$", "SHA-256 (crypt)"),
    (r"\$6\$", "SHA-512 (crypt)"),
    (r"\$g?y\$", "yescrypt"),
    (r"\$argon2", "argon2"),
    (r"\{SS?HA\}", "SHA-1"),
    (r"pbkdf2:|\$pbkdf2", "PBKDF2"),
    (r"\$2[abxy]\$", "a bcrypt hash that is cut or damaged"),
    (r"\$7\$|\$scrypt\$|scrypt:", "an scrypt hash that is cut or damaged"),
)
"""What others write, by how it begins."""


@dataclass(frozen=True, slots=True)
class PasswordHash:
    """The hash of one password; two of the same text are equal.

    Attributes:
        text: as it is in the file.
        matches: tells whether a password is the one; blocks for up to a second of processor time, without the lock of
            the interpreter, and takes as long for any other password.
    """

    text: str = field(repr=False)
    matches: Callable[[bytes], bool] = field(repr=False, compare=False)


def parse_hash(text: str) -> PasswordHash:
    """Parse a hash.

    Raises:
        ValueError: it is none of those in the module, or costs too much; says what it is, and nothing of its text.
    """
    if found := _BCRYPT.fullmatch(text):
        if not 4 <= int(found[1]) <= MOST_BCRYPT_COST:
            raise ValueError(f"bcrypt of cost {int(found[1])}")
        return PasswordHash(text, _bcrypt(text))
    if found := _CRYPT.fullmatch(text):
        r, p = _number(found[2]), _number(found[3])
        digest = b"".join(map(_four, re.findall(".{1,4}", found[5])))
        return _scrypt(text, _ALPHABET.index(found[1]), r, p, found[4].encode(), digest)
    if found := _PASSLIB.fullmatch(text):
        try:
            salt, digest = (base64.b64decode(part + "=" * (-len(part) % 4)) for part in (found[4], found[5]))
        except binascii.Error:
            raise ValueError("an scrypt hash that is cut or damaged") from None
        return _scrypt(text, int(found[1]), int(found[2]), int(found[3]), salt, digest)
    if found := _WERKZEUG.fullmatch(text):
        count = int(found[1])
        if count & count - 1 or len(found[5]) % 2:
            raise ValueError("an scrypt hash that is cut or damaged")
        digest = bytes.fromhex(found[5])
        return _scrypt(text, count.bit_length() - 1, int(found[2]), int(found[3]), found[4].encode(), digest)
    for beginning, name in _OTHERS:
        if re.match(beginning, text):
            raise ValueError(name)
    raise ValueError("a hash of another kind, or none at all")


def _bcrypt(text: str) -> Callable[[bytes], bool]:
    known = text.encode()

    def matches(password: bytes) -> bool:
        # Only who has such a hash pays for the import.
        import bcrypt

        return bcrypt.checkpw(password[:_BCRYPT_BYTES], known)

    return matches


def _scrypt(text: str, log_n: int, r: int, p: int, salt: bytes, digest: bytes) -> PasswordHash:
    if not 1 <= log_n < 40 or not r or not p:
        raise ValueError("an scrypt hash that is cut or damaged")
    n = 1 << log_n
    if n * r * p > MOST_SCRYPT_BLOCKS or 128 * n * r > MOST_SCRYPT_BYTES:
        raise ValueError(f"scrypt of N = 2^{log_n}, r = {r}, p = {p}")

    def matches(password: bytes) -> bool:
        most = 128 * r * (n + p + 2) + (1 << 20)  # bytes, and some for OpenSSL itself
        made = hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=most, dklen=len(digest))
        return hmac.compare_digest(made, digest)

    return PasswordHash(text, matches)


def _number(text: str) -> int:
    """A number as crypt(5) writes it, six bits a character, the lowest first."""
    return sum(_ALPHABET.index(character) << 6 * place for place, character in enumerate(text))


def _four(text: str) -> bytes:
    """Up to three bytes as crypt(5) writes them."""
    return _number(text).to_bytes(3, "little")[: len(text) * 6 // 8]
