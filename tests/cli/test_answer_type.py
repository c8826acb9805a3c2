"""`hotswap pause --answer STATUS|PAGE`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hotswap.core.pool.pause_answer import MAX_PAGE_BYTES, PauseAnswer
from tests.support.command_line import cli
from tests.support.fake_runtime import FakeProxy, open_fake_proxy


@pytest.fixture
async def proxy() -> AsyncIterator[FakeProxy]:
    """A fake proxy whose admin API answers."""
    async with open_fake_proxy() as fake:
        yield fake


async def test_a_number_is_a_status_and_anything_else_a_page(proxy: FakeProxy, tmp_path: Path) -> None:
    """A file that is named like a number is meant by its path; what is answered is said, and the status tells it."""
    page = tmp_path / "404"
    page.write_text("<h1>später</h1>", encoding="utf-8")
    core = proxy.runtime.pool("web")
    for answer, wanted, words in (
        ("404", PauseAnswer(status=404), "answered 404"),
        (str(page), PauseAnswer(page=page.read_bytes()), "answered 503 with a page"),
    ):
        done = await cli("pause", "web", "--answer", answer, "--admin", proxy.url)
        assert (done.code, done.stdout, done.stderr) == (0, "", f"pool web: requests are {words}\n")
        assert core.answer == wanted
        told = (await cli("status", "--admin", proxy.url)).stdout
        assert f"PAUSED: {words}" in told
        assert f"its requests are {words}; to let them go on: hotswap resume web" in told
    assert (await cli("pause", "web", "--answer", str(page), "--admin", proxy.url)).stderr.endswith("paused already\n")
    assert (await cli("pause", "web", "--admin", proxy.url)).stderr == "pool web: requests are held\n"
    assert core.answer is None


@pytest.mark.parametrize("status", ["200", "399", "600", "0", "50300"])
async def test_a_number_that_is_no_status_of_an_error_is_a_usage_error(proxy: FakeProxy, status: str) -> None:
    """Exit code 2, and nothing is done."""
    done = await cli("pause", "web", "--answer", status, "--admin", proxy.url)
    assert done.code == 2
    assert f"a status is a number from 400 to 599, not {status}" in done.stderr
    assert not proxy.runtime.pool("web").paused


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "is empty; a page has up to 1 MiB"),
        (b"x" * (MAX_PAGE_BYTES + 1), "is larger than 1 MiB"),
        ("später".encode("latin-1"), "is no page in UTF-8"),
    ],
)
async def test_a_file_that_is_no_page_is_a_usage_error(
    proxy: FakeProxy, tmp_path: Path, content: bytes | None, words: str
) -> None:
    """Told before the proxy is told anything."""
    if content is not None:
        (tmp_path / "page.html").write_bytes(content)
    done = await cli("pause", "web", "--answer", str(tmp_path / "page.html"), "--admin", proxy.url)
    assert (done.code, done.stdout) == (2, "")
    assert words in done.stderr
    assert not proxy.runtime.pool("web").paused
