"""The proxy on a terminal: what a person sees who types `hotswap run`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import trio

from tests.support.admin import Admin
from tests.support.client import Target, fetch
from tests.support.command_line import command
from tests.support.pools import command_pool, listeners
from tests.support.terminal import Terminal, open_terminal

TIME = r"\d\d:\d\d:\d\d"


async def target_of(terminal: Terminal) -> Target:
    """Give where the listener is, by the link that a person would click."""
    text = await terminal.wait_text("  public")
    found = re.search(r"^    http://127\.0\.0\.1:(\d+)/ +public$", text, re.M)
    assert found is not None, text
    return Target(address=("127.0.0.1", int(found[1])), tls=None, host="shop.test")


@pytest.mark.fail_after(60)
@pytest.mark.parametrize("variables", [{}, {"NO_COLOR": "1"}])
async def test_a_terminal_shows_lines_for_people_from_the_start_to_the_end(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    """Output, requests, readiness and the stop, a line each: no JSON, no keys, and colours only where wanted."""
    admin = tmp_path / "admin.sock"
    config = tmp_path / "hotswap.toml"
    config.write_text(
        f'[admin]\nbind = ["127.0.0.1:0", "unix:{admin}"]\n'
        + listeners()
        + command_pool(tmp_path, "faulty.plain", size=1, environment={"PYTHONUNBUFFERED": "1"})
    )
    async with open_terminal(command("run", str(config)), directory=tmp_path, variables=variables) as terminal:
        target = await target_of(terminal)
        answered = await fetch(target, "/cart?token=secret&n=1")
        assert answered.status == 200
        await terminal.wait_text("GET shop.test/cart")
        reloaded = await Admin(admin).reload("web", wait=True)
        assert reloaded.status in (200, 409)
        terminal.type("\x03")
        with trio.fail_after(30):
            await terminal.wait_text(" stopped\n")
            assert await terminal.process.wait() == 0
    lines = terminal.lines
    assert any(
        re.fullmatch(rf"{TIME} GET shop\.test/cart\?token=\*\*\*&n=1 200 [\d.]+ ms web/0", line) for line in lines
    )
    assert any(re.fullmatch(rf"{TIME} web/0: ready after [\d.]+ m?s", line) for line in lines)
    assert any(re.fullmatch(r"    http://127\.0\.0\.1:\d+/ +admin page", line) for line in lines)
    assert any(
        re.fullmatch(rf"(\^C)?{TIME} stopping: the backends end; Ctrl-C again stops at once", line) for line in lines
    )
    assert f"{lines[-2]}\n"[9:] == "stopped\n"
    assert "killed by" not in terminal.text
    assert not [line for line in lines if "{" in line or re.search(r"\b[a-z_]+=(?!\*)", line.partition("?")[0])]
    assert ("\x1b[" in terminal.shown) is (not variables)


@pytest.mark.fail_after(60)
async def test_a_stop_says_what_it_waits_for_and_how_to_hurry_it(tmp_path: Path) -> None:
    """And a second Ctrl-C does that."""
    config = tmp_path / "hotswap.toml"
    config.write_text(
        f'[admin]\nbind = ["unix:{tmp_path}/admin.sock"]\n'
        + listeners()
        + command_pool(tmp_path, "faulty.plain", size=1)
    )
    async with open_terminal(command("run", str(config)), directory=tmp_path) as terminal:
        target = await target_of(terminal)
        assert not isinstance(target.address, Path)
        stream = await trio.open_tcp_stream(*target.address)
        await stream.send_all(b"POST /slow HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 5\r\n\r\n12")
        async with trio.open_nursery() as nursery:

            async def press_until_seen() -> None:
                while (await Admin(tmp_path / "admin.sock").status())["pools"]["web"]["slots"][0]["backends"][0][
                    "in_flight"
                ] == 0:
                    await trio.sleep(0.02)
                terminal.type("\x03")

            nursery.start_soon(press_until_seen)
            text = await terminal.wait_text("stopping: waits for 1 request (the oldest: POST /slow from 127.0.0.1, ")
        assert "at most 30 s; Ctrl-C again stops at once" in text
        terminal.type("\x03")
        with trio.fail_after(15):
            await terminal.wait_text("stopping at once")
            await terminal.process.wait()
        await stream.aclose()
