"""The page: a few static files, served as they are, and what a browser is told to allow them.

Nothing is built, and nothing comes from elsewhere: the policy admits scripts, styles and connections of this very
address and nothing else, no inline script or style, and no text that is made into markup (trusted types).
"""

from __future__ import annotations

from importlib.resources import files

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from starlette.responses import Response

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)

PAGE_FIELDS = {
    "Content-Security-Policy": PAGE_POLICY,
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

MEDIA_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}

PAGE_FILES = (
    "page.css",
    "page.js",
    "element.js",
    "connection.js",
    "orders.js",
    "traffic.js",
    "chart.js",
    "pools.js",
    "rollouts.js",
    "events.js",
    "waiting.js",
    "words.js",
    "icon.svg",
)
"""The files beside the document itself."""


def add_page(application: FastAPI) -> None:
    """Serve the document at `/` and its files below `/page/`; they are read once, now."""
    folder = files("proxy.control").joinpath("page")
    document = folder.joinpath("index.html").read_text(encoding="utf-8")

    @application.get("/", summary="The page", response_class=HTMLResponse)
    async def page() -> Response:
        return HTMLResponse(document, headers=PAGE_FIELDS)

    def add(name: str) -> None:
        content = folder.joinpath(name).read_bytes()
        media_type = MEDIA_TYPES[name.rpartition(".")[2]]

        async def asset() -> Response:
            return Response(content, media_type=media_type, headers=PAGE_FIELDS)

        application.add_api_route(f"/page/{name}", asset, methods=["GET"], include_in_schema=False)

    for name in PAGE_FILES:
        add(name)
