"""Settings of the whole suite: a deadline around each test, and how long Hypothesis searches.

pytest-trio runs every `async def` test (`trio_mode` in pyproject.toml).
"""

from __future__ import annotations

import functools
import inspect
import itertools
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, settings

from tests.support.hotswap import command_lines

DEFAULT_SECONDS = 60.0
"""How long an async test may take; `@pytest.mark.fail_after(seconds)` gives another time."""
VIRTUAL_SECONDS = 7 * 86400.0
"""The same under `autojump_clock`, where a day passes in no time and only a test that never ends gets this
far."""

settings.register_profile("fast", max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("deep", parent=settings.get_profile("fast"), max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))

# A shell ignores SIGINT for what it starts in the background, and programs inherit that; tests send it to some.
signal.signal(signal.SIGINT, signal.default_int_handler)

LEAVING_SECONDS = 10.0
"""How long processes that a test has ended by force may take, with what their guardians end."""

AsyncTest = Callable[..., Awaitable[None]]


@pytest.fixture(scope="session", autouse=True)
def _data_of_this_session(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep what a user keeps for long, such as the development authority, out of the home of whoever runs this."""
    os.environ["XDG_DATA_HOME"] = str(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session", autouse=True)
def _no_process_is_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fail when a program still runs that was started with a path of this session's directory."""
    directory = bytes(tmp_path_factory.getbasetemp())
    before = _programs_with(directory)  # who called pytest and named the directory
    yield
    until = time.monotonic() + LEAVING_SECONDS
    while (left := _programs_with(directory) - before) and time.monotonic() < until:
        time.sleep(0.1)
    assert not left, "\n".join(left)


_numbers = itertools.count()


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give an empty directory with a path as short as those that people choose: Unix sockets are made below it.

    pytest's own has the name of the test in it, and the kernel takes 107 bytes for a socket.
    """
    path = tmp_path_factory.getbasetemp() / str(next(_numbers))
    path.mkdir(mode=0o700)
    return path


def _programs_with(path: bytes) -> set[str]:
    return {
        f"{pid} {b' '.join(words).decode(errors='replace')}"
        for pid, words in command_lines().items()
        if any(path in word for word in words)
    }


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put `fail_after` around each async test, and tell pytest-timeout about tests that need longer.

    Those that may take longest come first: several processes that share the tests end at about the same time then.
    """
    for item in items:
        if not isinstance(item, pytest.Function):
            continue
        marker = item.get_closest_marker("fail_after")
        virtual = "autojump_clock" in item.fixturenames
        seconds = marker.args[0] if marker else VIRTUAL_SECONDS if virtual else DEFAULT_SECONDS
        if marker and not virtual:
            # The net below: a test that does not even reach a checkpoint.
            item.add_marker(pytest.mark.timeout(2 * seconds + 60))
        within_hypothesis = getattr(item.obj, "hypothesis", None)
        if within_hypothesis is not None:
            if inspect.iscoroutinefunction(within_hypothesis.inner_test):
                within_hypothesis.inner_test = _fail_after(seconds, within_hypothesis.inner_test)
        elif inspect.iscoroutinefunction(item.obj):
            item.obj = _fail_after(seconds, item.obj)
    items.sort(key=_patience, reverse=True)


def _patience(item: pytest.Item) -> float:
    marker = item.get_closest_marker("fail_after")
    return float(marker.args[0]) if marker else 0.0


def _fail_after(seconds: float, test: AsyncTest) -> AsyncTest:
    @functools.wraps(test)
    async def limited(**fixtures: Any) -> None:
        with trio.fail_after(seconds):
            await test(**fixtures)

    return limited
