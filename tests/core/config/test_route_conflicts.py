"""Keys of one route that contradict each other: each is told with its line and a way out."""

from __future__ import annotations

import pytest

from hotswap.core.config import parse_draft
from hotswap.core.errors import Problem

REST = """
[listeners.public]
bind = ["127.0.0.1:8000"]
[pools.web]
server = "uvicorn"
app = "shop.asgi:app"
[pools.legacy]
addresses = ["127.0.0.1:9000"]
"""


def problems(route: str, rest: str = REST) -> list[Problem]:
    """What is wrong with a route of these keys."""
    draft = parse_draft(f"[[routes]]\n{route}\n{rest}", origin="/etc/hotswap/hotswap.toml")
    return [Problem(".".join(map(str, finding.location)), finding.value, finding.allowed) for finding in draft.findings]


TO = 'redirect = "https://example.org"\n'

MISTAKES = [
    (TO + 'pool = "web"', "routes.0.pool", "left out where redirect is given"),
    (TO + 'files = "/srv/media"', "routes.0.files", "left out where redirect is given"),
    (TO + "strip_prefix = true", "routes.0.strip_prefix", "left out where redirect is given"),
    (TO + 'allow = ["10.0.0.0/8"]', "routes.0.allow", "left out where redirect is given"),
    (TO + 'deny = ["10.0.0.0/8"]', "routes.0.deny", "left out where redirect is given"),
    (TO + 'rate = "10/s"', "routes.0.rate", "left out where redirect is given"),
    (TO + "burst = 1", "routes.0.burst", "left out where redirect is given"),
    (TO + 'basic_auth = "users"', "routes.0.basic_auth", "left out where redirect is given"),
    (TO + 'response_timeout = "5s"', "routes.0.response_timeout", "left out where redirect is given"),
    (TO + 'fallback = "index.html"', "routes.0.fallback", "left out where redirect is given"),
    ('pool = "web"\nfiles = "static"\nstrip_prefix = true', "routes.0.strip_prefix", "left out with files"),
    ('pool = "web"\nfallback = "index.html"', "routes.0.fallback", "with files"),
    ('pool = "web"\nburst = 5', "routes.0.burst", "left out without rate"),
    ('files = "static"', "routes.0.files", 'add pool = "web"'),
    ('pool = "legacy"\nfiles = "static"', "routes.0.files", "an absolute path; the backends of legacy"),
    (
        'pool = "web"\nallow = ["10.0.0.0/8"]\ndeny = ["192.0.2.1", "10.0.0.0/8"]',
        "routes.0.deny.1",
        "another network than one of allow",
    ),
    ("strip_prefix = true", "routes.0.pool", "or files, or redirect"),
]


@pytest.mark.parametrize(("route", "path", "words"), MISTAKES)
def test_a_contradiction_is_one_problem_with_a_way_out(route: str, path: str, words: str) -> None:
    """And is about the key that has to go."""
    (problem,) = problems(route)
    assert problem.path == path
    assert words in problem.allowed


@pytest.mark.parametrize(
    "route",
    [
        TO + 'headers = { X-A = "b" }\nlog = false\nhosts = ["www.example.org"]',
        TO + 'pool = ""\nfiles = ""\nallow = []\nrate = ""\nburst = 0\nstrip_prefix = false',
        'files = "/srv/media"\nfallback = "none.html"',
        'pool = "legacy"\nfiles = "/srv/media"',
        'pool = "web"\nfiles = "static"\nfallback = "index.html"',
        'pool = "web"\nrate = "1/s"\nburst = 2\nallow = ["10.0.0.0/8"]\ndeny = ["10.1.0.0/16"]',
        'pool = "web"\npath = "/"\nstrip_prefix = true',
    ],
)
def test_what_agrees_is_no_problem(route: str) -> None:
    """Also keys that say what they would say by themselves."""
    assert problems(route) == []


def test_a_listener_that_redirects_has_nothing_to_compress() -> None:
    """A key that does nothing is told."""
    bounce = '[listeners.bounce]\nbind = ["127.0.0.1:8080"]\nredirect = {}\ncompress = true\n'
    (problem,) = problems('pool = "web"', REST + bounce)
    assert (problem.path, problem.allowed.partition(";")[0]) == (
        "listeners.bounce.compress",
        "left out in a listener that redirects everything",
    )
