"""Who has an address that the admin API was to have."""

from __future__ import annotations

import socket
from functools import partial
from pathlib import Path

import pytest
import trio

from hotswap.control.admin.neighbour import tell_neighbour
from hotswap.core.address import TcpAddress, UnixAddress
from tests.support.fake_runtime import CONFIGURATION, open_fake_proxy


@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_a_hotswap_says_which_it_is(tmp_path: Path, kind: str) -> None:
    """Its configuration and its process, to whoever was to have its address."""
    address = "127.0.0.1:0" if kind == "tcp" else f"unix:{tmp_path}/a"
    async with open_fake_proxy(CONFIGURATION.replace("127.0.0.1:0", address, 1)) as proxy:
        told = await trio.to_thread.run_sync(tell_neighbour, proxy.addresses[0])
    assert told == "a hotswap already runs here: /nowhere/hotswap.toml, pid 4711"


async def test_one_with_a_token_says_that_it_is_one(tmp_path: Path) -> None:
    """And nothing else."""
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    token.chmod(0o600)
    async with open_fake_proxy(CONFIGURATION.replace("[admin]", f'[admin]\ntoken_file = "{token}"')) as proxy:
        told = await trio.to_thread.run_sync(tell_neighbour, proxy.addresses[0])
    assert told.startswith("a hotswap already runs here; which one")


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"])
async def test_what_is_no_hotswap_is_nothing(answer: bytes) -> None:
    """Whatever it says."""

    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(answer)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        host, port = listener.socket.getsockname()
        assert await trio.to_thread.run_sync(tell_neighbour, TcpAddress(host, port)) == ""
        nursery.cancel_scope.cancel()


def test_nobody_is_nothing(tmp_path: Path) -> None:
    """No socket, a port that refuses, or one that never answers."""
    assert tell_neighbour(UnixAddress(str(tmp_path / "none"))) == ""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host, port = silent.getsockname()
        assert tell_neighbour(TcpAddress(host, port)) == ""
    assert tell_neighbour(TcpAddress(host, port)) == ""
