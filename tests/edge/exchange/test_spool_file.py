"""Files of bodies that wait."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import trio
import trio.lowlevel

from hotswap.edge.exchange.spool_file import SpoolFile, open_unlinked
from hotswap.edge.loop.jobs import Jobs
from hotswap.edge.loop.poller import Poller

pytestmark = pytest.mark.fail_after(10)


class Heard:
    """The spool of a file, and the owner of its calls."""

    def __init__(self) -> None:
        self.said: list[object] = []
        self.more = trio.Event()

    def _note(self, what: object) -> None:
        self.said.append(what)
        self.more.set()

    def on_written(self) -> None:
        """Noted."""
        self._note("written")

    def on_write_failed(self, error: OSError) -> None:
        """Noted."""
        self._note(error.errno)

    def on_read(self, data: bytes) -> None:
        """Noted."""
        self._note(data)

    def on_read_failed(self, error: OSError) -> None:
        """Noted."""
        self._note(error.errno)

    def on_crash(self, error: Exception) -> None:
        """Noted."""
        self._note(error)

    async def hear(self) -> object:
        """What was said last."""
        await self.more.wait()
        self.more = trio.Event()
        return self.said[-1]


def open_in(directory: Path) -> list[str]:
    """Files that this process has open there."""
    links = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{fd}"))
        except FileNotFoundError:
            continue
    return [link for link in links if link.startswith(f"{directory}/")]


async def with_file(directory: Path | None, nursery: trio.Nursery) -> tuple[SpoolFile, Heard]:
    poller = Poller(linger=0)
    jobs = Jobs(poller)
    await nursery.start(jobs.serve)
    nursery.start_soon(poller.serve)
    heard = Heard()
    file = SpoolFile(jobs, heard, directory, trio.CapacityLimiter(2))
    file.spool = heard
    return file, heard


async def test_what_was_written_is_read_from_the_cache_or_by_a_thread(tmp_path):
    """Nothing is open before, and nothing afterwards."""
    async with trio.open_nursery() as nursery:
        file, heard = await with_file(tmp_path / "spool", nursery)
        assert open_in(tmp_path) == []
        file.write(b"hello", 0)
        assert await heard.hear() == "written"
        file.write(b" world", 5)
        assert await heard.hear() == "written"
        data = file.read(0, 11)
        assert (await heard.hear() if data is None else data) == b"hello world"
        (link,) = open_in(tmp_path)
        assert link.endswith("(deleted)")
        file.close()
        while open_in(tmp_path):
            await trio.sleep(0.001)
        nursery.cancel_scope.cancel()


async def test_a_directory_that_vanished_is_made_again(tmp_path):
    """With the one above it, and for this user alone."""
    async with trio.open_nursery() as nursery:
        file, heard = await with_file(tmp_path / "state" / "spool", nursery)
        file.write(b"hello", 0)
        assert await heard.hear() == "written"
        assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
        assert (tmp_path / "state" / "spool").stat().st_mode & 0o777 == 0o700
        file.close()
        nursery.cancel_scope.cancel()


async def test_a_write_that_fails_says_why():
    """Where there is no directory there is no room."""
    async with trio.open_nursery() as nursery:
        file, heard = await with_file(None, nursery)
        file.write(b"hello", 0)
        assert await heard.hear() == errno.ENOENT
        file.close()
        nursery.cancel_scope.cancel()


async def test_a_file_that_is_closed_while_it_is_written_tells_nobody(tmp_path):
    """And it is closed all the same."""
    async with trio.open_nursery() as nursery:
        file, heard = await with_file(tmp_path, nursery)
        file.write(bytes(1_000_000), 0)
        file.close()
        await trio.lowlevel.checkpoint()
        while open_in(tmp_path):
            await trio.sleep(0.001)
        assert heard.said == []
        nursery.cancel_scope.cancel()


def test_a_file_system_without_unnamed_files_gets_one_whose_name_is_taken_away(tmp_path, monkeypatch):
    """Older network file systems have none."""
    there = os.open

    def refuse(path: object, flags: int, mode: int = 0o777, **rest: object) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "not here")
        return there(path, flags, mode, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refuse)
    fd = open_unlinked(tmp_path)
    try:
        assert os.listdir(tmp_path) == []
        assert os.write(fd, b"hello") == 5
        assert os.fstat(fd).st_mode & 0o777 == 0o600
    finally:
        os.close(fd)
