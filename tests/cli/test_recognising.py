"""A verb speaks to the proxy of its configuration and to no other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hotswap.cli.client import AdminClient, ProxyLost, Stranger, translate
from hotswap.cli.endpoint import AdminEndpoint
from hotswap.core.address import TcpAddress, UnixAddress
from tests.support.command_line import cli
from tests.support.fake_runtime import CONFIGURATION, FakeProxy, open_fake_proxy


@pytest.fixture
async def proxy() -> AsyncIterator[FakeProxy]:
    """A fake proxy whose admin API answers."""
    async with open_fake_proxy() as fake:
        yield fake


def project(directory: Path, proxy: FakeProxy) -> Path:
    """Write a configuration that names the address of a proxy, whoever has it."""
    file = directory / "hotswap.toml"
    file.write_text(CONFIGURATION.replace("127.0.0.1:0", str(proxy.addresses[0]), 1))
    return file


@pytest.mark.parametrize(
    "order", [("reload",), ("stop",), ("pause", "web"), ("drain", "web", "0"), ("takeover",), ("status",), ("events",)]
)
async def test_what_belongs_to_another_configuration_is_told_nothing(
    tmp_path: Path, proxy: FakeProxy, order: tuple[str, ...]
) -> None:
    """Both paths are named, and the way out; whichever way the address was found."""
    file = project(tmp_path, proxy)
    by_file = await cli(*order, "--config", str(file))
    by_variable = await cli(*order, "--config", str(file), environ={"HOTSWAP_ADMIN": proxy.url})
    for answer in (by_file, by_variable):
        assert answer.code == 1
        for part in ("/nowhere/hotswap.toml", str(file), "nothing was done", "--admin", "--config"):
            assert part in answer.stderr
    assert "HOTSWAP_ADMIN" in by_variable.stderr
    assert (proxy.runtime.triggers, proxy.runtime.stopping) == ([], 0)


async def test_its_own_is_the_one_with_the_same_file_by_whatever_name(tmp_path: Path, proxy: FakeProxy) -> None:
    """A link that a deploy moves on is the same configuration from both of its ends."""
    (tmp_path / "r1").mkdir()
    (tmp_path / "current").symlink_to("r1")
    file = project(tmp_path / "r1", proxy)
    for said in (file, tmp_path / "current" / file.name, tmp_path / "current" / ".." / "r1" / file.name):
        proxy.runtime.config_path = str(said)
        for typed in (file, tmp_path / "current" / file.name):
            answer = await cli("status", "--config", str(typed))
            assert answer.code == 0, answer.stderr


async def test_of_several_places_the_one_that_is_its_own_is_used(tmp_path: Path, proxy: FakeProxy) -> None:
    """A stranger in the first, nobody in the second."""
    async with open_fake_proxy() as own:
        own.runtime.config_path = "/srv/hotswap.toml"
        nobody = UnixAddress(str(tmp_path / "none.sock"))
        addresses = (proxy.addresses[0], nobody, own.addresses[0])

        def find() -> int:
            endpoint = AdminEndpoint(addresses=addresses, token=None, source="x", config=Path("/srv/hotswap.toml"))
            client = AdminClient(endpoint)
            client.recognise()
            return len(client.post("/v1/reload")["rollouts"])

        import trio

        assert await trio.to_thread.run_sync(find) == 1
        assert (proxy.runtime.triggers, own.runtime.triggers) == ([], ["cli"])


async def test_a_proxy_that_is_barred_says_who_may_call(tmp_path: Path) -> None:
    """That a door is closed says more than that there is none; the answer of a stranger says more than both."""
    barred, lost = ProxyLost("Permission denied"), ProxyLost("No such file or directory")
    barred.__cause__ = PermissionError()
    endpoint = AdminEndpoint(addresses=(UnixAddress("/a"),), token=None, source="/x", config=tmp_path)
    assert "[admin].group" in translate(barred, endpoint).hints[0]
    assert "hotswap run" in translate(lost, endpoint).hints[0]
    stranger = translate(Stranger(TcpAddress("127.0.0.1", 1), "/b"), endpoint)
    assert (stranger.exit_code, str(stranger).startswith("the proxy at 127.0.0.1:1 runs /b, not ")) == (1, True)


@pytest.mark.parametrize(
    ("config", "command"),
    [
        (Path("/srv/shop/hotswap.toml"), "hotswap run /srv/shop/hotswap.toml"),
        (Path("/srv/my shop/hotswap.toml"), "hotswap run '/srv/my shop/hotswap.toml'"),
        (None, "hotswap run CONFIG"),
    ],
)
def test_a_proxy_that_is_not_running_is_told_with_how_it_is_started(config: Path | None, command: str) -> None:
    """The very command, for the configuration that was meant."""
    address = UnixAddress("/srv/shop/.hotswap/admin.sock")
    endpoint = AdminEndpoint(addresses=(address,), token=None, source="here", config=config)
    error = translate(ProxyLost("No such file or directory"), endpoint)
    assert error.message == f"no proxy can be reached at {address}: No such file or directory"
    assert error.hints == (f"found by here; if it is not running, start it: {command}",)
