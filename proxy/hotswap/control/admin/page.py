"""The page: a few static files, served as they are, and what a browser is told to allow them.

Nothing is built, and nothing comes from elsewhere: the policy admits scripts, styles and connections of this very
address and nothing else, no inline script or style, and no text that is made into markup (trusted types).
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

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

MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

_FOLDER = Path(str(files("hotswap.control"))) / "page"

PAGE_FILES = tuple(sorted(file.name for file in _FOLDER.iterdir() if file.suffix in MEDIA_TYPES))
"""The files beside the document itself."""


def page_calls() -> list[AnyCall]:
    """Give the calls for the document at `/` and its files below `/page/`; the files are read once, now."""

    def serve(path: str, name: str, file: Path, media_type: str, *, described: bool = False) -> AnyCall:
        response = AdminResponse(media_type=f"{media_type}; charset=utf-8", body=file.read_bytes(), fields=PAGE_FIELDS)
        return _always(path, name, "The page", media_type, response, described=described)

    page = serve("/", "page", _FOLDER / "index.html", "text/html", described=True)
    paths = [_FOLDER / name for name in PAGE_FILES]
    return [page, *(serve(f"/page/{file.name}", file.name, file, MEDIA_TYPES[file.suffix]) for file in paths)]


def description_call() -> AnyCall:
    """Give the call for what `make docs` has written: to make it takes a while, in which nobody is served."""
    response = AdminResponse(body=files("hotswap.control.admin").joinpath("openapi.json").read_bytes())
    return _always("/openapi.json", "openapi", "This document", JSON, response)


def _always(
    path: str, name: str, summary: str, media_type: str, response: AdminResponse, *, described: bool = False
) -> AnyCall:
    """Give a call that is always answered with the same."""

    async def act(_asked: Asked[Parameters]) -> AdminResponse:
        return response

    return Call("GET", path, name, summary, act, Parameters, {200: media_type}, described=described)
