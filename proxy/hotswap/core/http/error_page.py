"""The page that a browser gets with an error of the proxy's own, unless the pool has one for it.

It is for visitors: what happened, in a sentence, and what they can do. For whoever runs the site it has the request id,
by which the access log knows the request. It loads nothing, runs nothing, and has nothing of what the client sent.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from typing import Final

from hotswap.core.http.forwarding import REASONS, own_head
from hotswap.core.http.messages import Field, ResponseHead

_STYLE: Final = (
    ":root{color-scheme:light dark;--b:#f5f6f8;--c:#fff;--l:#e4e7ec;--t:#1b2130;--m:#5c6577;--a:#2f5fd0;--i:#fff}"
    "@media(prefers-color-scheme:dark){:root{"
    "--b:#12151b;--c:#1a1f28;--l:#2b323e;--t:#eceff4;--m:#9aa4b5;--a:#8db0ff;--i:#12151b}}"
    "*{box-sizing:border-box;margin:0}"
    "body{min-height:100vh;display:grid;place-items:center;padding:24px;background:var(--b);color:var(--t);"
    "font:17px/1.55 system-ui,sans-serif}"
    "main{width:100%;max-width:30rem;padding:clamp(28px,7vw,48px);background:var(--c);"
    "border:1px solid var(--l);border-radius:16px}"
    "b{font-size:14px;letter-spacing:.08em;color:var(--m)}"
    "h1{margin:8px 0 12px;font-size:clamp(25px,6vw,32px);line-height:1.2;letter-spacing:-.01em}"
    "a{display:inline-block;margin-top:24px;padding:10px 20px;border-radius:8px;background:var(--a);color:var(--i);"
    "font-weight:600;text-decoration:none}"
    "small{display:block;margin-top:28px;padding-top:14px;border-top:1px solid var(--l);"
    "font-size:13px;color:var(--m)}"
    "code{font-family:ui-monospace,monospace;overflow-wrap:anywhere}"
)

PAGE_FIELDS: Final[tuple[Field, ...]] = (
    (
        b"Content-Security-Policy",
        b"default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; style-src 'sha256-%b'"
        % base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()),
    ),
    (b"X-Content-Type-Options", b"nosniff"),
)
"""Fields of the head that goes with it: nothing but its own style is allowed to it."""

_AGAIN: Final = frozenset((408, 421, 425, 429, 500, 502, 503, 504))
"""The statuses after which the same request may well be answered."""

_WORDS: Final = {
    400: ("This did not work", "Your browser sent something that this site does not understand."),
    401: ("Please sign in", "You need a user name and a password to see this page."),
    403: ("No access", "You are not allowed to see this page."),
    404: ("Page not found", "There is nothing at this address. Please check it, or start from the home page."),
    408: ("That took too long", "Your request did not arrive in time. Please try again."),
    410: ("Page is gone", "What was at this address is there no more."),
    413: ("That is too large", "What you sent is larger than this site accepts."),
    414: ("Address too long", "The address of this page is longer than this site accepts."),
    421: ("Please try again", "Your browser took another connection than the one for this site."),
    429: ("One moment, please", "Too many requests came from your network. Please wait a little and try again."),
    431: ("That is too much", "Your browser sent more than this site accepts. Deleting its cookies for it may help."),
    451: ("Not available here", "This page is not shown for legal reasons."),
    500: ("Something went wrong", "This is a fault of the site, not yours. Please try again in a moment."),
    502: ("Something went wrong", "The site could not answer just now. Please try again in a moment."),
    503: ("Back in a moment", "This site is being updated and will be back in a moment. Thank you for waiting."),
    504: ("This takes too long", "The site did not answer in time. Please try again in a moment."),
}
_OTHER_OF_CLIENTS: Final = ("This did not work", "The site cannot answer this request.")
_OTHER_OF_SERVERS: Final = ("Something went wrong", "The site cannot answer this request at the moment.")


def page_answer(
    status: int, fields: tuple[Field, ...] = (), *, page: bytes = b"", request_id: bytes = b"", detail: str = ""
) -> tuple[ResponseHead, bytes]:
    """Head and body of an answer of the proxy's own to a browser: a given page, or else that of the status."""
    if not page:
        fields, page = (*PAGE_FIELDS, *fields), error_page(status, request_id, detail)
    return own_head(status, b"text/html; charset=utf-8", fields, len(page)), page


def error_page(status: int, request_id: bytes = b"", detail: str = "") -> bytes:
    """The page of a status, less than 2 KiB; UTF-8.

    Args:
        status: from 400 to 599.
        request_id: empty: the page names none.
        detail: a sentence of ours that says it better than that of the status.
    """
    before, after = _halves(status, detail)
    told = b"<small>Request <code>%b</code></small>" % _escaped(request_id)
    return before + (told if request_id else b"") + after


def _escaped(text: bytes) -> bytes:
    """Text as HTML has it between tags; the `html` module would bring its table of two thousand names."""
    return text.replace(b"&", b"&amp;").replace(b"<", b"&lt;").replace(b">", b"&gt;")


@cache
def _halves(status: int, detail: str) -> tuple[bytes, bytes]:
    title, words = _WORDS.get(status) or (_OTHER_OF_CLIENTS if status < 500 else _OTHER_OF_SERVERS)
    reason = REASONS.get(status, b"Error").decode()
    again = '<p><a href="">Try again</a></p>' if status in _AGAIN else ""
    before = (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{title}</title><style>{_STYLE}</style>"
        f"<main><b>{status} {reason}</b><h1>{title}</h1><p>{detail or words}</p>{again}"
    )
    return before.encode(), b"</main></html>\n"
