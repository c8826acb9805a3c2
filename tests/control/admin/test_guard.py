"""Who is let in: hosts, origins, tokens."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path

import httpx
import pytest

from hotswap.control.admin.guard import host_of
from hotswap.control.admin.page import PAGE_FILES
from hotswap.core.config.conflicts import is_loopback
from hotswap.core.pool.last_error import LastError
from tests.support.fake_runtime import CONFIGURATION, FakeProxy, open_fake_proxy

JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def proxy() -> AsyncIterator[FakeProxy]:
    """A fake proxy on a loopback port."""
    async with open_fake_proxy() as fake:
        yield fake


async def ask(proxy: FakeProxy, method: str, path: str, **fields: str) -> httpx.Response:
    """Send one request with some fields."""
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    async with httpx.AsyncClient(base_url=proxy.url) as client:
        return await client.request(method, path, headers=headers)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:9", "[::1]:9900", "127.0.0.2:80", "a.localhost"])
async def test_loopback_names_are_served(proxy: FakeProxy, host: str) -> None:
    """A port that was forwarded is still this machine."""
    assert (await ask(proxy, "GET", "/v1/status", host=host)).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "[::1", "10.0.0.1", "127.0.0.1:1:2"]
)
async def test_a_name_that_somebody_made_point_here_is_refused(proxy: FakeProxy, host: str) -> None:
    """DNS rebinding: the page of evil.example must not read the state, not even by GET."""
    for path in ("/", "/v1/status", "/metrics", "/livez"):
        response = await ask(proxy, "GET", path, host=host)
        assert response.status_code == 403
        assert response.json()["code"] == "host-not-allowed"


@pytest.mark.parametrize("origin", ["http://evil.example", "https://localhost:1", "null", "", "garbage"])
async def test_a_page_of_another_origin_can_give_no_order(proxy: FakeProxy, origin: str) -> None:
    """A form of another site must not pause a pool."""
    response = await ask(proxy, "POST", "/v1/pools/web/pause", origin=origin)
    assert response.status_code == 403
    assert response.json()["code"] == "origin-not-allowed"
    assert not proxy.runtime.pool("web").paused


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_what_a_browser_says_comes_from_another_site_can_give_no_order(proxy: FakeProxy, site: str) -> None:
    """Also where it leaves `Origin` out."""
    response = await ask(proxy, "POST", "/v1/pools/web/pause", sec_fetch_site=site)
    assert response.status_code == 403
    assert not proxy.runtime.pool("web").paused


async def test_the_page_of_the_proxy_itself_can_give_orders(proxy: FakeProxy) -> None:
    """Its origin is ours."""
    response = await ask(proxy, "POST", "/v1/pools/web/pause", origin=proxy.url, sec_fetch_site="same-origin")
    assert response.status_code == 200


async def test_a_stranger_with_an_open_socket_cannot_ask_for_a_websocket(proxy: FakeProxy) -> None:
    """There is none, and the attempt ends politely."""
    response = await ask(
        proxy,
        "GET",
        "/v1/status",
        connection="Upgrade",
        upgrade="websocket",
        sec_websocket_key="dGhlIHNhbXBsZSBub25jZQ==",
        sec_websocket_version="13",
    )
    assert response.status_code == 403


async def test_with_a_token_every_call_but_probes_and_the_page_needs_it(tmp_path: Path) -> None:
    """The page holds no state, and probes send no token."""
    token = tmp_path / "token"
    token.write_text("s3cret\nanother line\n")
    token.chmod(0o600)
    text = CONFIGURATION.replace("[admin]", f'[admin]\ntoken_file = "{token}"')
    async with open_fake_proxy(text) as proxy:
        for path in ("/livez", "/readyz", "/", "/page/page.js", "/page/page.css"):
            assert (await ask(proxy, "GET", path)).status_code == 200
        for method, path in (("GET", "/v1/status"), ("GET", "/metrics"), ("POST", "/v1/stop"), ("GET", "/v1/events")):
            for fields in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic s3cret"}):
                response = await ask(proxy, method, path, **fields)
                assert response.status_code == 401
                assert response.json()["code"] == "token-required"
                assert response.headers["www-authenticate"].startswith("Bearer")
        assert proxy.runtime.stopping == 0
        web = proxy.runtime.pool("web")
        for one in tuple(web.backends):
            web.remove(one)
        web.note_error(0, LastError(text="exited with status 1: no database at postgres://shop:s3cret@db"))
        stranger = await ask(proxy, "GET", "/readyz")
        assert stranger.status_code == 503
        assert "pool web has no backend" in stranger.text
        assert "s3cret" not in stranger.text
        trusted = await ask(proxy, "GET", "/readyz", authorization="Bearer s3cret")
        assert "no database at postgres" in trusted.text
        good = {"authorization": "bearer s3cret"}
        assert (await ask(proxy, "GET", "/v1/status", **good)).status_code == 200
        # No page can know the token, so the name does not matter then.
        assert (await ask(proxy, "GET", "/v1/status", host="proxy.internal", **good)).status_code == 200
        assert (await ask(proxy, "GET", "/v1/status", host="proxy.internal")).status_code == 403


@pytest.mark.parametrize(
    "media_type",
    ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", "application/json-seq", ""],
)
async def test_what_a_form_of_any_site_can_send_is_no_order(proxy: FakeProxy, media_type: str) -> None:
    """Such requests go out without being asked about; JSON does not."""
    async with httpx.AsyncClient(base_url=proxy.url) as client:
        path, headers = "/v1/pools/web/pause", {"Content-Type": media_type}
        response = await client.post(path, headers=headers, content=b"a=b")
        assert response.status_code == 415
        assert response.json()["code"] == "not-json"
        assert not proxy.runtime.pool("web").paused
        # Nothing at all is of no kind: what many clients send when they are told to POST.
        assert (await client.post(path, headers=headers)).status_code == 200


async def test_an_order_may_come_with_a_small_body_of_json_and_no_other(proxy: FakeProxy) -> None:
    """It is not read; a long one, or one of unknown length, is refused before it comes."""

    async def chunks() -> AsyncIterator[bytes]:
        yield b"{}"

    async with httpx.AsyncClient(base_url=proxy.url) as client:
        path = "/v1/pools/web/resume"
        assert (await client.post(path, json={})).status_code == 200
        assert (await client.post(path, headers={"Content-Type": "application/json; charset=utf-8"})).status_code == 200
        too_large = await client.post(path, json="x" * 70_000)
        assert (too_large.status_code, too_large.json()["code"]) == (413, "body-too-large")
        # Where it is read it may be longer, and not without end.
        longer = await client.post("/v1/pools/web/pause", json={"page": "x" * 70_000})
        assert longer.status_code == 200
        endless = await client.post(path, content=chunks(), headers=JSON)
        assert (endless.status_code, endless.json()["code"]) == (411, "length-required")


async def test_the_page_allows_a_browser_nothing_but_its_own_files(proxy: FakeProxy) -> None:
    """No inline script or style, nothing from elsewhere, no frame around it, no text that becomes markup."""
    page = await ask(proxy, "GET", "/")
    policy = dict(directive.split(" ", 1) for directive in page.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == policy["img-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in page.headers["content-security-policy"]
    assert page.headers["x-frame-options"] == "DENY"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert "http" not in page.text.replace("http-equiv", "")
    assert " style=" not in page.text
    assert "<script>" not in page.text
    for name in PAGE_FILES:
        asset = await ask(proxy, "GET", f"/page/{name}")
        assert asset.status_code == 200
        assert asset.headers["x-content-type-options"] == "nosniff"
        assert asset.headers["cross-origin-resource-policy"] == "same-origin"
        elsewhere = re.findall(r"https?://[^\s\"']+", asset.text)
        assert set(elsewhere) <= {"http://www.w3.org/2000/svg"}


def test_every_file_of_the_page_is_served() -> None:
    """One that is added to the folder is added to the list."""
    folder = files("hotswap.control").joinpath("page")
    assert {one.name for one in folder.iterdir()} == {*PAGE_FILES, "index.html"}


def test_hosts_are_read_as_browsers_write_them() -> None:
    """Ports, brackets, case and a dot at the end do not matter."""
    assert host_of("LocalHost.:80") == "localhost"
    assert host_of("[::1]:80") == "::1"
    for malformed in ("a]b", "a:1:2", "127.0.0.1:9900:80", "u@localhost", "localhost/x", "[::1]x", "local host", ""):
        assert host_of(malformed) == ""
    assert is_loopback("127.8.9.1")
    assert not is_loopback("128.0.0.1")
    assert not is_loopback("localhost.example")
