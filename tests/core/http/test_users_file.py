"""Files of users: read as a whole, or refused with every line that is wrong."""

from __future__ import annotations

import pytest

from hotswap.core.errors import Problem
from hotswap.core.http.users_file import LARGEST_FILE, MOST_PROBLEMS, MOST_USERS, parse_users
from tests.core.http.test_password_hash import BCRYPT, PASSLIB, PASSWORD

PATH = "/etc/hotswap/users"


def read(text: str | bytes) -> tuple[list[str], list[str]]:
    """The users, and what is wrong."""
    problems: list[Problem] = []
    users = parse_users(text.encode() if isinstance(text, str) else text, PATH, problems)
    return list(users), list(map(str, problems))


def test_a_file_is_read():
    """Of lines with comments and empty ones between, whatever system ended them; a hash may have colons in it."""
    text = f"\ufeff# who may\r\n\r\nalice:{BCRYPT}\r\n  # and\n jürgen:{PASSLIB} \nc:scrypt:1024:8:1$a${'0' * 64}"
    assert read(text) == (["alice", "jürgen", "c"], [])
    users = parse_users(text.encode(), PATH, [])
    assert users["jürgen"].matches(PASSWORD.encode())


def test_every_line_that_is_wrong_is_told():
    """With file and line, the user and the way out, and nothing of a hash."""
    text = f"alice:{BCRYPT}\nbob:$apr1$abcdefgh$8l3HxE2nGvLn1SgFGY0ZP.\ncarol s:hunter2\nno colon\n:x\nalice:{BCRYPT}"
    users, problems = read(text)
    assert users == ["alice"]
    wanted = "hashed with bcrypt (of a cost up to 14) or scrypt (up to 2^20 blocks and 128 MiB)"
    again = f"write it anew with htpasswd -B -C 10 {PATH}"
    assert problems == [
        f"{PATH}:2: user bob must be {wanted}, is MD5 (apr1); {again} bob",
        f"{PATH}:3: user carol s must be {wanted}, is a hash of another kind, or none at all; {again} 'carol s'",
        f"{PATH}:4: line must be user:hash, is without a colon; {again} NAME",
        f"{PATH}:5: line must be user:hash, is without a name; {again} NAME",
        f"{PATH}:6: user alice must be on one line, is there twice; remove the other",
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            b"",
            "file must be a file with a user, is empty; write it anew with htpasswd -B -C 10 /etc/hotswap/users NAME",
        ),
        (
            b"# none\n",
            "file must be a file with a user, is empty; write it anew with htpasswd -B -C 10 /etc/hotswap/users NAME",
        ),
        (b"#" * (LARGEST_FILE + 1), "file must be a file of users of at most 1 MiB, is larger"),
        (b"\xff:x\n", ":1: line must be user:hash in UTF-8, is not UTF-8"),
        (b"a\x1bb:x\n", r':1: name of a user must be printable, and of 255 bytes at most, is "a\\x1bb"'),
    ],
    ids=range(5),
)
def test_what_is_no_file_of_users(content, said):
    """One without users, a large one, another encoding, control characters."""
    users, (problem,) = read(content)
    assert users == []
    assert problem.removeprefix(PATH).removeprefix(": ") == said


def test_how_much_is_read_and_told_is_bounded():
    """Nobody reads on after the first twenty."""
    assert len(read("x:y\n" * 1000)[1]) == MOST_PROBLEMS
    many = "".join(f"{number}:{BCRYPT}\n" for number in range(MOST_USERS + 1))
    assert read(many)[1] == [f"{PATH}: file must be a file of 10000 users at most, is of 10001"]
