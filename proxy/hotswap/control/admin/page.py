"""The page: a few static files, served as they are, and what a browser is told to allow them.

Nothing is built, and nothing comes from elsewhere: the policy admits scripts, styles and connections of this very
address and nothing else, no inline script or style, and no text that is made into markup (trusted types).
"""

from __future__ import annotations

from importlib.resources import files

from hotswap.control.admin.call import AnyCall, Asked, Call
from hotswap.control.admin.messages import JSON, AdminResponse
from hotswap.control.admin.parameters import Parameters

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


def page_calls() -> list[AnyCall]:
    """Give the calls for the document at `/` and its files below `/page/`; the files are read once, now."""
    folder = files("hotswap.control").joinpath("page")

    def serve(path: str, name: str, file: str, media_type: str, *, described: bool = False) -> AnyCall:
        response = AdminResponse(
            media_type=f"{media_type}; charset=utf-8", body=folder.joinpath(file).read_bytes(), fields=PAGE_FIELDS
        )

        async def act(_asked: Asked[Parameters]) -> AdminResponse:
            return response

        return Call(
            method="GET",
            path=path,
            name=name,
            summary="The page",
            act=act,
            takes=Parameters,
            answers={200: media_type},
            described=described,
        )

    page = serve("/", "page", "index.html", "text/html", described=True)
    return [page, *(serve(f"/page/{name}", name, name, MEDIA_TYPES[name.rpartition(".")[2]]) for name in PAGE_FILES)]


def description_call() -> AnyCall:
    """Give the call for what `description` has written: to make it takes a while, in which nobody is served."""
    content = files("hotswap.control.admin").joinpath("openapi.json").read_bytes()
    response = AdminResponse(body=content)

    async def act(_asked: Asked[Parameters]) -> AdminResponse:
        return response

    return Call(
        method="GET",
        path="/openapi.json",
        name="openapi",
        summary="This document",
        act=act,
        takes=Parameters,
        answers={200: JSON},
        described=False,
    )
