"""A pause by the admin API, with an answer or without."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
import trio

from hotswap.control.admin.guard import MOST_READ
from hotswap.core.pool.pause_answer import MAX_PAGE_BYTES, PauseAnswer
from tests.support.fake_runtime import FakeProxy, open_fake_proxy

PATH = "/v1/pools/web/pause"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def proxy() -> AsyncIterator[FakeProxy]:
    """A fake proxy whose admin API answers."""
    async with open_fake_proxy() as fake:
        yield fake


@pytest.fixture
async def client(proxy: FakeProxy) -> AsyncIterator[httpx.AsyncClient]:
    """A client of it."""
    async with httpx.AsyncClient(base_url=proxy.url) as made:
        yield made


async def test_a_pause_takes_a_status_or_a_page(proxy: FakeProxy, client: httpx.AsyncClient) -> None:
    """Whatever it is told last holds; a page alone is answered 503, and nothing of it is given back."""
    core, page = proxy.runtime.pool("web"), "<h1>später</h1>"
    for body, answer in (
        ({"answer": 404}, PauseAnswer(status=404)),
        ({"answer": 503, "page": page}, PauseAnswer(page=page.encode())),
        ({"page": page}, PauseAnswer(page=page.encode())),
        ({"answer": 599, "page": None}, PauseAnswer(status=599)),
    ):
        response = await client.post(PATH, json=body)
        told = {"status": answer.status, "page": bool(answer.page)}
        assert response.json() == {"pool": "web", "changed": body != {"page": page}, "answer": told}
        assert core.answer == answer
        assert (await client.get("/v1/pools/web")).json()["answer"] == told
    assert (await client.post(PATH, json={})).json() == {"pool": "web", "changed": True}
    assert (core.paused, core.answer) == (True, None)
    assert (await client.get("/v1/pools/web")).json()["answer"] is None


@pytest.mark.parametrize(
    ("content", "path"),
    [
        (b'{"answer": 399}', "body.answer"),
        (b'{"answer": 600}', "body.answer"),
        (b'{"answer": "503"}', "body.answer"),
        (b'{"answer": true}', "body.answer"),
        (b'{"answer": 503.0}', "body.answer"),
        (b'{"page": 1}', "body.page"),
        (b'{"page": ""}', "body.page"),
        (b'{"page": "\\ud800"}', "body.page"),
        (b'{"page": "%b"}' % (b"x" * (MAX_PAGE_BYTES + 1)), "body.page"),
        (b'{"awnser": 503}', "body.awnser"),
        (b"[503]", "body"),
        (b"503", "body"),
        (b"null", "body"),
        (b"{", "body"),
        (b"\xff", "body"),
        (b"[" * 100_000, "body"),
    ],
)
async def test_what_is_none_is_a_problem_and_pauses_nothing(
    proxy: FakeProxy, client: httpx.AsyncClient, content: bytes, path: str
) -> None:
    """With the key, and what is allowed; a misspelt one would hold what was to be answered."""
    response = await client.post(PATH, content=content, headers=JSON)
    assert (response.status_code, response.json()["code"]) == (422, "invalid-request")
    assert [problem["path"] for problem in response.json()["state"]["problems"]] == [path]
    assert not proxy.runtime.pool("web").paused


async def test_a_page_of_a_mib_gets_through(proxy: FakeProxy, client: httpx.AsyncClient) -> None:
    """In whatever escapes: it is its bytes in UTF-8 that count."""
    page = '"\n' * (MAX_PAGE_BYTES // 2)
    assert (await client.post(PATH, json={"page": page})).status_code == 200
    assert proxy.runtime.pool("web").answer == PauseAnswer(page=page.encode())


async def test_a_body_that_is_no_page_is_refused_by_its_length(proxy: FakeProxy) -> None:
    """Before anything of it is read."""
    url = httpx.URL(proxy.url)
    stream = await trio.open_tcp_stream(url.host, url.port or 0)
    async with stream:
        head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {MOST_READ + 1}\r\n\r\n"
        await stream.send_all(head.encode())
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 413 ")


async def test_openapi_describes_the_body(client: httpx.AsyncClient) -> None:
    """Of this call, and of no other."""
    paths = (await client.get("/openapi.json")).json()["paths"]
    schema = paths["/v1/pools/{pool}/pause"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(schema["properties"]) == {"answer", "page"}
    assert schema["additionalProperties"] is False
    assert [path for path, calls in paths.items() for call in calls.values() if "requestBody" in call] == [
        "/v1/pools/{pool}/pause"
    ]
