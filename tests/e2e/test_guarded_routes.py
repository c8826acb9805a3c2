"""Guarded routes in a real proxy: who is served, and what a reload changes of that."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import bcrypt
import pytest

from tests.support.hotswap import Hotswap, run_hotswap
from tests.support.pools import command_pool, table

pytestmark = pytest.mark.fail_after(60)

ROUTES = """
[[routes]]
pool = "web"
[[routes]]
path = "/moved"
redirect = "https://example.org"
[[routes]]
path = "/inside"
pool = "web"
allow = ["192.0.2.0/24"]
[[routes]]
path = "/seldom"
pool = "web"
rate = "1/h"
[[routes]]
path = "/private"
pool = "web"
basic_auth = "users"
"""


def line(user: str, password: str) -> str:
    """A line of a file of users."""
    return f"{user}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()}\n"


async def status(proxy: Hotswap, path: str, user: str = "", password: str = "") -> int:
    """Of an answer."""
    credentials = b64encode(f"{user}:{password}".encode()).decode()
    headers = [("Authorization", f"Basic {credentials}")] if user else []
    return (await proxy.fetch(path, headers=headers)).status


async def test_a_reload_changes_who_is_served_as_a_whole_or_not_at_all(tmp_path: Path):
    """A file of users that cannot be used leaves the old one in force, and is told with its line, by `check` too."""
    users, text = tmp_path / "users", table("listeners.public", {"bind": ["127.0.0.1:0"]}) + ROUTES
    users.write_text(line("alice", "right") + line("bob", "right"))
    async with run_hotswap(text + command_pool(tmp_path, "faulty.plain", size=1), tmp_path) as proxy:
        moved = await proxy.fetch("/moved/x?y=z")
        assert (moved.status, moved.header("location")) == (301, "https://example.org/moved/x?y=z")
        assert await status(proxy, "/inside") == 403
        assert [await status(proxy, "/seldom") for _ in range(2)] == [200, 429]
        assert await status(proxy, "/private") == 401
        assert await status(proxy, "/private", "alice", "right") == 200
        assert await status(proxy, "/private", "alice", "wrong") == 401

        users.write_text(line("alice", "right") + "mallory:$apr1$abcdefgh$8l3HxE2nGvLn1SgFGY0ZP.\n")
        for ran in (await proxy.command("apply"), await proxy.command("check", str(proxy.config))):
            assert ran.code == 2
            assert f"{users}:2: user mallory must be hashed with bcrypt" in ran.stderr
            assert "$apr1$" not in ran.stderr + ran.stdout
        assert await status(proxy, "/private", "bob", "right") == 200

        users.write_text(line("alice", "changed"))
        applied = await proxy.command("apply")
        assert applied.code == 0
        assert f"users in {users} changed" in applied.stdout
        assert await status(proxy, "/private", "alice", "right") == 401
        assert await status(proxy, "/private", "bob", "right") == 401
        assert await status(proxy, "/private", "alice", "changed") == 200
        # Whose route has not changed has not been forgotten.
        assert await status(proxy, "/seldom") == 429
        page = await proxy.admin.metrics()
        assert 'code="401"' in page
        assert 'code="403"' in page
