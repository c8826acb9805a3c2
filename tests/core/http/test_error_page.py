"""The page that a browser gets with an error of the proxy's own."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from hotswap.core.http.error_page import error_page, page_answer
from hotswap.core.http.forwarding import REASONS
from hotswap.core.pool.pause_answer import STATUSES

REQUEST_ID = b"0123456789ab-7f"
TAGS = {"html", "meta", "link", "title", "style", "main", "b", "h1", "p", "a", "small", "code"}


class Reader(HTMLParser):
    """Collects what a page is made of."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self.feed(page.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep a tag."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Keep the text behind the last tag."""
        self.texts.setdefault(self.tags[-1][0], data)


def test_every_status_of_an_error_has_a_small_page():
    """Its number, its name, a sentence for the visitor and the request id for the operator, in less than 2 KiB."""
    for status in STATUSES:
        page = error_page(status, REQUEST_ID)
        read = Reader(page)
        assert len(page) < 2048
        assert read.texts["b"] == f"{status} {REASONS.get(status, b'Error').decode()}"
        assert read.texts["h1"] == read.texts["title"]
        assert read.texts["p"].endswith(".")
        assert read.texts["code"] == REQUEST_ID.decode()
        assert ("html", {"lang": "en"}) in read.tags


@pytest.mark.parametrize("status", sorted(status for status in REASONS if status >= 400))
def test_a_page_loads_and_runs_nothing(status):
    """No script, and no address of anything, its own included; what it may do is in its policy as well."""
    read = Reader(error_page(status, REQUEST_ID))
    assert {tag for tag, _ in read.tags} <= TAGS
    links = [value for _, attributes in read.tags for name, value in attributes.items() if name in ("href", "src")]
    assert set(links) <= {"data:,", ""}
    assert "url(" not in read.texts["style"]
    assert "@import" not in read.texts["style"]
    assert not any(name.startswith("on") or name == "style" for _, attributes in read.tags for name in attributes)


def test_the_policy_allows_its_own_style_and_nothing_else():
    """By the hash of it, so that nothing that somebody gets into a page would count."""
    head, page = page_answer(503)
    policy = (head.field(b"content-security-policy") or b"").decode()
    style = re.search(rb"<style>(.*?)</style>", page)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1]).digest()).decode()
    assert policy.split("; ")[0] == "default-src 'none'"
    assert f"style-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert head.field(b"x-content-type-options") == b"nosniff"


def test_the_request_id_is_text():
    """That of a trusted proxy has bytes which mean something in HTML, were it ever to let them pass."""
    assert b"<code>a&lt;b&gt;&amp;</code>" in error_page(502, b"a<b>&")
    assert b"<code>" not in error_page(400)


def test_who_may_come_back_is_offered_to():
    """By a link to where the visitor is; where the same request would fare the same, there is none."""
    assert b'<a href="">' in error_page(503)
    assert b'<a href="">' not in error_page(404)


def test_it_is_never_stored_and_says_what_it_is():
    """UTF-8 whatever the page says, and the fields that come with the error."""
    head, page = page_answer(405, ((b"X-One", b"1"),), page=b"<h1>own</h1>")
    assert (head.status, head.reason, page, head.content_length) == (405, b"Method Not Allowed", b"<h1>own</h1>", 12)
    fields = dict(head.fields)
    assert fields[b"Content-Type"] == b"text/html; charset=utf-8"
    assert fields[b"Cache-Control"] == b"no-store"
    assert fields[b"X-One"] == b"1"
    assert b"GET" in fields[b"Allow"]
    # It may load what it likes: it is the operator's.
    assert b"Content-Security-Policy" not in fields
