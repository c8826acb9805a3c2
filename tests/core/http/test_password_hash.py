"""Hashes of passwords, as the programs that people have write them."""

from __future__ import annotations

import bcrypt
import pytest
from werkzeug.security import generate_password_hash

from hotswap.core.http.password_hash import parse_hash

pytestmark = pytest.mark.fail_after(30)

PASSWORD = "pässword"
BCRYPT = "$2y$04$JKX1.yRjdT8Q5zSUA0V4Me2qVrCl92qAgRFF/TDkF/pKgR9K4kJf6"
"""By crypt(3) of libxcrypt, as is that of crypt(5) below."""
CRYPT = "$7$4U..../....saltsaltsalt$Xf2sHu7lZV1lmvCmyCUQPRmkMFK76riEZnuRLAMQm8."
PASSLIB = "$scrypt$ln=6,r=8,p=1$MDEyMzQ1Njc4OWFiY2RlZg$tkJw6m6y9gAJ/xRzqzC/2LWtycmgkd4ewwDtja7Ex6A"
GOOD = (BCRYPT, BCRYPT.replace("2y", "2a"), BCRYPT.replace("2y", "2b"), CRYPT, PASSLIB)


@pytest.mark.parametrize("text", [*GOOD, generate_password_hash(PASSWORD, method="scrypt:1024:8:1")], ids=range(6))
def test_a_password_matches_its_hash_and_no_other(text):
    """Of each kind."""
    parsed = parse_hash(text)
    assert parsed.matches(PASSWORD.encode())
    for wrong in (b"", b"p", PASSWORD.encode() + b"x", PASSWORD.encode("latin-1"), b"x" * 500):
        assert not parsed.matches(wrong)


def test_bcrypt_knows_72_bytes():
    """And so did who made the hash: nobody is locked out by a longer password."""
    long = parse_hash(bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode())
    assert long.matches(b"x" * 72)
    assert long.matches(b"x" * 100)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("$apr1$abcdefgh$8l3HxE2nGvLn1SgFGY0ZP.", "MD5 (apr1)"),
        ("$1$abcdefgh$8l3HxE2nGvLn1SgFGY0ZP.", "MD5 (crypt)"),
        ("$5$abc$def", "SHA-256 (crypt)"),
        ("$6$abc$def", "SHA-512 (crypt)"),
        ("$y$j9T$abc$def", "yescrypt"),
        ("$argon2id$v=19$m=65536,t=3,p=4$abc$def", "argon2"),
        ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "SHA-1"),
        ("{SSHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "SHA-1"),
        ("pbkdf2:sha256:600000$abc$def", "PBKDF2"),
        ("rqXexS6ZhobKA", "a hash of another kind, or none at all"),
        ("hunter2", "a hash of another kind, or none at all"),
        ("", "a hash of another kind, or none at all"),
        (BCRYPT[:-1], "a bcrypt hash that is cut or damaged"),
        (BCRYPT + "x", "a bcrypt hash that is cut or damaged"),
        (BCRYPT.replace("$04$", "$03$"), "bcrypt of cost 3"),
        (BCRYPT.replace("$04$", "$15$"), "bcrypt of cost 15"),
        (CRYPT[:-1], "an scrypt hash that is cut or damaged"),
        (CRYPT.replace("$7$4", "$7$M"), "scrypt of N = 2^24, r = 32, p = 1"),
        (PASSLIB[:40], "an scrypt hash that is cut or damaged"),
        (PASSLIB.replace("ln=6", "ln=18"), "scrypt of N = 2^18, r = 8, p = 1"),
        (PASSLIB.replace("p=1", "p=4096"), "scrypt of N = 2^6, r = 8, p = 4096"),
        (PASSLIB.replace("r=8", "r=0"), "an scrypt hash that is cut or damaged"),
        (PASSLIB.replace("ln=6", "ln=99"), "an scrypt hash that is cut or damaged"),
        ("scrypt:1000:8:1$abc$" + "0" * 128, "an scrypt hash that is cut or damaged"),
        ("scrypt:1024:8:1$abc$" + "0" * 127, "an scrypt hash that is cut or damaged"),
        ("scrypt:1048576:8:1$abc$" + "0" * 128, "scrypt of N = 2^20, r = 8, p = 1"),
    ],
    ids=range(26),
)
def test_what_cannot_be_used_is_named(text, said):
    """A weak hash, one that would cost a request too much, or none; nothing of it is told."""
    with pytest.raises(ValueError, match=r".") as error:
        parse_hash(text)
    assert str(error.value) == said
