"""The premises of a process: entered, watched, left."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import pytest
import structlog
import trio
import trio.testing

from hotswap.control.configuration.loading import load_configuration
from hotswap.control.process.premises import WATCH_INTERVAL, Premises
from hotswap.core.errors import ConfigError


@pytest.fixture
def premises(tmp_path: Path) -> Premises:
    file = tmp_path / "hotswap.toml"
    file.write_text(
        'proxy.state_dir = "state"\nlisteners.public.bind = ["127.0.0.1:0"]\n'
        'pools.web.addresses = ["127.0.0.1:1"]\nroutes = [{ pool = "web" }]\n',
        encoding="utf-8",
    )
    return Premises(load_configuration(file), file)


async def test_a_directory_that_was_removed_is_made_again_and_everybody_is_told(premises: Premises) -> None:
    """Within seconds, and each time; nothing happens while it is there."""
    log = structlog.get_logger()
    restored = trio.Event()
    with structlog.testing.capture_logs() as logs:
        await premises.enter(log)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(premises.watch, log, lambda: restored.set())
            for _ in range(2):
                restored = trio.Event()
                shutil.rmtree(premises.directory)
                await premises.wait_remade()
                await restored.wait()
                assert premises.directory.is_dir()
            nursery.cancel_scope.cancel()
    premises.leave()
    assert [entry["event"] for entry in logs] == ["state_directory.vanished"] * 2


async def test_one_that_cannot_be_made_again_is_told_once_and_tried_again(premises: Premises, tmp_path: Path) -> None:
    """A file is in its place; when that has gone it is made."""
    log = structlog.get_logger()
    with structlog.testing.capture_logs() as logs:
        await premises.enter(log)
        shutil.rmtree(premises.directory)
        premises.directory.touch()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(premises.watch, log, lambda: None)
            while not logs:
                await trio.testing.wait_all_tasks_blocked(0.05)
            premises.directory.unlink()
            await premises.wait_remade()
            nursery.cancel_scope.cancel()
    premises.leave()
    assert [entry["event"] for entry in logs] == ["state_directory.vanished"] * 2
    assert "not made again" in logs[0]["detail"]


async def test_while_another_process_has_everything_it_is_for_that_one_to_do(premises: Premises) -> None:
    """Two would take the paths from each other, and end what is not theirs; afterwards it is made up for."""
    ours = False
    await premises.enter(structlog.get_logger())
    shutil.rmtree(premises.directory)
    with structlog.testing.capture_logs():
        async with trio.open_nursery() as nursery:
            restored = trio.Event()
            watch = partial(premises.watch, structlog.get_logger(), restored.set, ours=lambda: ours)
            nursery.start_soon(watch)
            await trio.sleep(3 * WATCH_INTERVAL)
            assert not premises.directory.exists()
            ours = True
            await restored.wait()
            assert premises.directory.is_dir()
            nursery.cancel_scope.cancel()
    premises.leave()


async def test_what_was_left_is_watched_no_more(premises: Premises) -> None:
    """The next process has it."""
    await premises.enter(structlog.get_logger())
    premises.leave()
    premises.leave()
    shutil.rmtree(premises.directory)
    await premises.watch(structlog.get_logger(), lambda: None)
    assert not premises.directory.exists()


async def test_it_is_entered_by_one_proxy_at_a_time(premises: Premises, tmp_path: Path) -> None:
    """Unless one takes over from the other."""
    log = structlog.get_logger()
    await premises.enter(log)
    other = Premises(load_configuration(tmp_path / "hotswap.toml"), tmp_path / "hotswap.toml")
    with pytest.raises(ConfigError, match="a hotswap already runs here"):
        await other.enter(log)
    await other.enter(log, shared=True)
    other.leave()
    premises.leave()
