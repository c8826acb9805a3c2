"""Files of users with the hashes of their passwords: lines `user:hash`, as htpasswd writes them.

Empty lines and those that begin with `#` are passed over. A file is taken as a whole or not at all.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Final

from hotswap.core.errors import Problem, Verbatim
from hotswap.core.http.password_hash import MOST_BCRYPT_COST, PasswordHash, parse_hash
from hotswap.core.printable import one_line

LARGEST_FILE: Final = 1 << 20
MOST_USERS: Final = 10_000
LONGEST_NAME: Final = 255
"""Bytes."""
MOST_PROBLEMS: Final = 20
"""Of one file, after which nobody reads on."""

_WANTED: Final = f"hashed with bcrypt (of a cost up to {MOST_BCRYPT_COST}) or scrypt (up to 2^20 blocks and 128 MiB)"


def parse_users(content: bytes, path: str, problems: list[Problem]) -> dict[str, PasswordHash]:
    """Parse a file of users.

    Args:
        content: of the file, `LARGEST_FILE` bytes at most.
        path: of the file, for the problems.
        problems: takes what is wrong, each with its line; nothing of a password or hash is said.
    """
    if len(content) > LARGEST_FILE:
        problems.append(Problem("file", Verbatim("larger"), "a file of users of at most 1 MiB", path))
        return {}
    users: dict[str, PasswordHash] = {}
    most = len(problems) + MOST_PROBLEMS
    for number, line in _lines(content):
        if len(problems) == most:
            return users
        try:
            name, colon, text = line.decode().partition(":")
        except UnicodeDecodeError:
            problems.append(Problem("line", Verbatim("not UTF-8"), "user:hash in UTF-8", path, number))
            continue
        if not colon or not name:
            found = Verbatim("without a colon" if not colon else "without a name")
            problems.append(Problem("line", found, _way_out("user:hash", path, "NAME"), path, number))
            continue
        shown = one_line(name)
        if len(name.encode()) > LONGEST_NAME or not name.isprintable():
            allowed = f"printable, and of {LONGEST_NAME} bytes at most"
            problems.append(Problem("name of a user", shown, allowed, path, number))
            continue
        where = f"user {shown}"
        if name in users:
            problems.append(Problem(where, Verbatim("there twice"), "on one line; remove the other", path, number))
            continue
        try:
            users[name] = parse_hash(text.strip())
        except ValueError as error:
            problems.append(Problem(where, Verbatim(str(error)), _way_out(_WANTED, path, name), path, number))
    if len(users) > MOST_USERS:
        problems.append(Problem("file", Verbatim(f"of {len(users)}"), f"a file of {MOST_USERS} users at most", path))
    elif not users and not any(problem.file == path for problem in problems):
        problems.append(Problem("file", Verbatim("empty"), _way_out("a file with a user", path, "NAME"), path))
    return users


def _way_out(wanted: str, path: str, name: str) -> str:
    return f"{wanted}; write it anew with {shlex.join(['htpasswd', '-B', '-C', '10', path, name])}"


def _lines(content: bytes) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        line = line.strip(b" \t\r")
        if line and not line.startswith(b"#"):
            yield number, line
