"""`[proxy].user`: root starts the proxy, and it goes on as somebody else, over reloads, takeovers and restarts."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.support.certificates import issue_certificate
from tests.support.client import fetch
from tests.support.hotswap import Hotswap, run_hotswap
from tests.support.other_user import ENVIRONMENT, USER, make_directory, reachable_python
from tests.support.pools import listeners, table

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else"),
    pytest.mark.fail_after(90),
]


@pytest.fixture
def directory():
    """Root's, and others can enter it."""
    made = make_directory()
    yield made
    shutil.rmtree(made)


def configuration(directory: Path, text: str = "", *, web: Mapping[str, object] | None = None, **proxy: object) -> str:
    """A proxy that becomes `USER`, with one backend."""
    settings = {"user": USER, "state_dir": directory / "state", "log_format": "json", "access_log": "off", **proxy}
    pool = {
        "server": "command",
        "command": [reachable_python(), "-m", "faulty.plain"],
        "directory": directory,
        "size": 1,
        "rollout": {"strategy": "surge"},
        "health": {"interval": "200ms"},
        **(web or {}),
    }
    return table("proxy", settings) + (text or listeners()) + table("pools.web", pool)


def run(text: str, directory: Path, **options: Any) -> AbstractAsyncContextManager[Hotswap]:
    program = (reachable_python(), "-m", "hotswap")
    return run_hotswap(text, directory, program=program, environment=ENVIRONMENT, **options)


def variables_of(pid: int) -> dict[str, str]:
    """Those that say who a backend is."""
    read = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    found = dict(one.partition("=")[::2] for one in read)
    return {name: found.get(name, "") for name in ("HOME", "USER", "LOGNAME")}


def users_of(pid: int) -> list[str]:
    """The real, effective, saved and file system user of a process."""
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("Uid:"))
    return line.split()[1:]


async def test_it_starts_again_after_it_has_run(directory):
    """The state directory is the user's since the first start."""
    for _ in range(2):
        async with run(configuration(directory), directory) as hotswap:
            assert (await hotswap.fetch("/")).status == 200
            assert (directory / "state").stat().st_uid == pwd.getpwnam(USER).pw_uid


async def test_a_key_that_root_alone_can_read_later_stops_no_rollout(directory):
    """It is in use, so nobody has to read it for a rollout; what it does stop is a renewed one."""
    certificates = issue_certificate(directory)
    os.chmod(certificates.key, 0o644)
    async with run(configuration(directory, listeners(certificates)), directory) as hotswap:
        os.chmod(certificates.key, 0o600)
        os.chown(certificates.key, 0, 0)
        assert (await hotswap.rollout())["outcome"] == "done"
        done = await hotswap.command("reload")
        assert done.code == 0, done.stderr
        hotswap.signal(signal.SIGHUP)
        await hotswap.wait_line("config.applied")
        assert hotswap.written("listener.certificates_kept")
        (await fetch(await hotswap.target("secure", tls=certificates.trusting), "/")).expect()


async def test_a_takeover_changes_nothing_of_who_it_is(directory):
    """The backends that the new process starts have the same home, and the log goes on, though root has opened it."""
    log = directory / "access.log"
    async with run(configuration(directory, access_log=str(log)), directory, stop=False) as hotswap:
        before = variables_of((await hotswap.backends())[0]["pid"])
        assert before["USER"] == USER
        assert log.stat().st_uid == pwd.getpwnam(USER).pw_uid
        # A rotation in a directory that is root's: the user cannot make the new file.
        log.rename(directory / "access.1")
        done = await hotswap.command("takeover", "--probation", "0s")
        assert done.code == 0, done.stderr
        await hotswap.wait_stopped()
        status = await hotswap.admin.status()
        try:
            assert (await hotswap.rollout())["outcome"] == "done"
            assert variables_of((await hotswap.backends())[0]["pid"]) == before
            await hotswap.fetch("/after")
            await hotswap.wait_line("access_log.failed", "goes on in the file of before")
        finally:
            os.kill(status["pid"], signal.SIGTERM)
            await hotswap.wait_line("proxy.stopped")
    assert "/after" in (directory / "access.1").read_text()


async def test_root_that_attaches_becomes_the_user_too(directory):
    """What takes over is the same proxy; it must not be root from then on."""
    text = configuration(directory)
    async with run(text, directory, stop=False) as hotswap:
        arguments = [reachable_python(), "-m", "hotswap", "run", "--attach", str(hotswap.config)]
        environment = {**os.environ, **ENVIRONMENT}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(trio.run_process, arguments, env=environment, capture_stderr=True))
            await hotswap.wait_stopped()
            pid = (await hotswap.admin.status())["pid"]
            ids = users_of(pid)
            os.kill(pid, signal.SIGTERM)
    assert ids == [str(pwd.getpwnam(USER).pw_uid)] * 4


@pytest.mark.parametrize("what", ["state_dir", "directory", "environment_file", "certificates[0].key"])
async def test_what_the_user_cannot_reach_is_told_before_anything_starts(directory, what):
    """By the start and by `check`, with the key and the path; it would run and start nothing."""
    hidden = directory / "hidden"
    hidden.mkdir(mode=0o700)
    (hidden / "inner").mkdir()
    (hidden / "variables").write_text("A=1\n")
    match what:
        case "state_dir":
            text = configuration(directory, state_dir=hidden / "state")
        case "directory":
            text = configuration(directory, web={"directory": hidden / "inner"})
        case "certificates[0].key":
            text = configuration(directory, listeners(issue_certificate(hidden)))
        case _:
            text = configuration(directory, web={"environment_file": hidden / "variables"})
    async with run(text, directory, wait_ready=False, stop=False) as hotswap:
        await hotswap.process.wait()
        assert hotswap.process.returncode == 2
        told = await hotswap.wait_line(f"{what} ", "proxy.user", str(hidden))
        assert f"chmod g+x {hidden}" in told
    done = await trio.run_process(
        [reachable_python(), "-m", "hotswap", "check", str(hotswap.config)],
        env={**os.environ, **ENVIRONMENT},
        capture_stderr=True,
        check=False,
    )
    assert done.returncode == 2
    assert told in done.stderr.decode().splitlines()


@pytest.mark.parametrize("what", ["proxy.user", "admin.group", "proxy.access_log"])
async def test_what_another_user_could_not_start_is_refused_by_run_and_a_caution_of_check(directory, what):
    """Who checks may be another than who runs, so for `check` the file is good; it names the key all the same."""
    (directory / "access.log").touch(0o600)
    pool = {"addresses": ["127.0.0.1:1"]}
    keys = {"proxy.user": {"user": "root"}, "proxy.access_log": {"access_log": directory / "access.log"}}
    text = table("proxy", keys.get(what, {})) + listeners() + table("pools.web", pool)
    text += '[admin]\ngroup = "root"\n' if what == "admin.group" else ""
    config = directory / "hotswap.toml"
    config.write_text(text)
    become = ("setpriv", f"--reuid={USER}", "--regid=nogroup", "--clear-groups")
    environment = {**os.environ, **ENVIRONMENT, "XDG_STATE_HOME": str(directory / "theirs")}
    (directory / "theirs").mkdir()
    os.chown(directory / "theirs", pwd.getpwnam(USER).pw_uid, -1)
    codes, told = [], ""
    for verb in ("check", "run"):
        done = await trio.run_process(
            [*become, reachable_python(), "-m", "hotswap", verb, str(config)],
            env=environment,
            capture_stderr=True,
            check=False,
        )
        codes.append(done.returncode)
        told = done.stderr.decode()
        assert f"{what}: now a start by user" in told or f": {what} must be " in told
    assert codes == [0, 2]
