"""The command line where a deploy script or a cron job may stand: in directories that are gone, with streams closed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.hotswap import REPOSITORY, SOURCES, run_hotswap
from tests.support.pools import command_pool, listeners


def leave() -> None:
    """Stand in a directory that is deleted."""
    directory = tempfile.mkdtemp()
    os.chdir(directory)
    os.rmdir(directory)


def close(*descriptors: int) -> Callable[[], None]:
    """Close what a shell does by `<&-`."""

    def closing() -> None:
        for one in descriptors:
            os.close(one)

    return closing


def hotswap(*arguments: str, before: Callable[[], None], **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": SOURCES, "PATH": os.environ["PATH"], "NO_COLOR": "1", **variables}
    return subprocess.run(
        [sys.executable, "-m", "hotswap", *arguments],
        preexec_fn=before,
        env=environment,
        text=True,
        errors="surrogateescape",
        check=False,
        timeout=30,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )


async def test_in_a_deleted_directory_a_proxy_is_found_by_its_address(tmp_path: Path) -> None:
    """A deploy script may stand in a release that was removed; the file can be named by its whole path as well."""
    async with run_hotswap(listeners() + command_pool(tmp_path, "faulty.plain"), tmp_path) as proxy:
        for how in (("--admin", f"unix:{proxy.admin.path}"), ("--config", str(proxy.config))):
            done = hotswap("status", "--json", *how, before=leave)
            assert done.returncode == 0, done.stderr
    assert hotswap("check", str(proxy.config), before=leave).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("status",), 1),
        (("check",), 2),
        (("check", "hotswap.toml"), 1),
        (("run",), 2),
        (("init",), 1),
    ],
)
def test_in_a_deleted_directory_the_reason_is_the_right_one(arguments: tuple[str, ...], code: int) -> None:
    """Nothing that was to be printed could not be."""
    done = hotswap(*arguments, before=leave)
    assert done.returncode == code, done.stderr
    assert "could not be written" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("descriptors", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_closed_streams_are_nobodys_place(descriptors: tuple[int, ...], tmp_path: Path) -> None:
    """What is opened next would be written to; the verb does its work all the same."""
    (tmp_path / "hotswap.toml").write_text(listeners() + command_pool(tmp_path, "faulty.plain"), encoding="utf-8")
    done = hotswap("check", str(tmp_path / "hotswap.toml"), before=close(*descriptors))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
async def test_a_directory_whose_name_is_not_utf8_is_a_directory(tmp_path: Path, encoding: str) -> None:
    """The proxy runs there, and its state can be printed, for programs too."""
    directory = tmp_path / os.fsdecode(b"caf\xe9")
    directory.mkdir()
    text = '[admin]\nbind = ["unix:admin.sock"]\n' + listeners() + command_pool(tmp_path, "faulty.plain")
    async with run_hotswap(text, directory) as proxy:
        how = ("--admin", f"unix:{proxy.admin.path}")
        done = hotswap("status", "--json", *how, before=leave, PYTHONIOENCODING=encoding)
        assert done.returncode == 0, done.stderr
        assert b"caf\xe9" in os.fsencode(json.loads(done.stdout)["config"])
        assert hotswap("status", *how, before=leave).returncode == 0


def test_a_package_of_ours_that_is_missing_is_told_in_words(tmp_path):
    """As with one of the two folders of a checkout in the path."""
    packages = [path for path in sys.path if Path(path).name == "site-packages"]
    (tmp_path / "hotswap.toml").write_text(listeners() + command_pool(tmp_path, "faulty.plain"), encoding="utf-8")
    done = subprocess.run(
        # Without site directories, which find the other folder.
        [sys.executable, "-S", "-m", "hotswap", "run"],
        env={"PYTHONPATH": os.pathsep.join([str(REPOSITORY / "proxy"), *packages])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    (told,) = done.stderr.splitlines()
    assert told.startswith("the Python package hotswap_backends is missing, which hotswap needs: install hotswap whole")
    assert "PYTHONPATH=proxy:backends" in told
