"""Verbs find the proxy of their configuration and speak to no other, where projects share a user and a machine."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import shutil
import socket
import stat
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import trio

from hotswap.control.configuration.state_place import signpost_of
from tests.support.admin import Admin
from tests.support.command_line import Result, program
from tests.support.hotswap import Hotswap, run_hotswap
from tests.support.other_user import (
    BARRED,
    ENVIRONMENT,
    REACHED,
    USER,
    connect_as_member,
    make_directory,
    reachable_python,
)
from tests.support.pools import command_pool, listeners

GROUP = "games"
"""One that every Linux has, with nobody in it."""

PLAIN = '[proxy]\nlog_format = "json"\naccess_log = "off"\n'
SECURE = '[listeners.secure]\nbind = ["127.0.0.1:0"]\ntls = { self_signed = ["localhost"] }\n'
SOCKET = ".hotswap/admin.sock"


def project(parent: Path, name: str, *, admin: str = "[admin]\n", more: str = "") -> tuple[str, Path]:
    """Give a configuration as `init` might write it, with a state directory of its own making, and its directory."""
    directory = parent / name
    directory.mkdir()
    return PLAIN + admin + more + listeners() + command_pool(
        directory, "faulty.plain", strategy="surge", size=1
    ), directory


def surroundings(parent: Path) -> dict[str, str]:
    """Give the variables that everything of one user shares."""
    return {name: str(parent / name) for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_DATA_HOME")}


async def generation(hotswap: Hotswap) -> int:
    number = (await hotswap.pool())["generation"]
    assert isinstance(number, int)
    return number


async def verb(directory: Path, *arguments: str, **variables: str) -> Result:
    """Run a verb where a user stands who has told it nothing but perhaps this."""
    return await program(*arguments, directory=directory, NO_COLOR="1", **variables)


@pytest.mark.fail_after(90)
async def test_two_projects_of_one_user_have_nothing_to_do_with_each_other(tmp_path: Path) -> None:
    """Each is found from its directory and by its file; every other address is refused before anything is done."""
    shared = surroundings(tmp_path)
    (text_a, a), (text_b, b) = project(tmp_path, "a", more=SECURE), project(tmp_path, "b", more=SECURE)
    _, stopped = project(tmp_path, "stopped")
    (stopped / "hotswap.toml").write_text(PLAIN + listeners() + command_pool(stopped, "faulty.plain"))
    async with (
        run_hotswap(text_a, a, environment=shared, admin=SOCKET) as first,
        run_hotswap(text_b, b, environment=shared, admin=SOCKET) as second,
    ):
        for directory, proxy in ((a, first), (b, second)):
            found = await verb(directory, "status", "--json", **shared)
            assert found.document["pid"] == proxy.pid, found.stderr
            named = await verb(tmp_path, "status", "--json", "--config", str(proxy.config), **shared)
            assert named.document["pid"] == proxy.pid, named.stderr
        # One authority for all projects of a user, which outlives them; its certificate is beside each.
        trusted = Path(shared["XDG_DATA_HOME"]) / "hotswap" / "development-ca.pem"
        for proxy in (first, second):
            assert [one["authority"] for one in proxy.records() if "authority" in one] == [str(trusted)]
            assert (proxy.directory / ".hotswap" / trusted.name).read_bytes() == trusted.read_bytes()
        assert (await verb(a, "reload", **shared)).code == 0
        assert (await generation(first), await generation(second)) == (2, 1)

        strange = await verb(a, "reload", **shared, HOTSWAP_ADMIN=f"unix:{second.admin.path}")
        assert strange.code == 1
        for part in (str(first.config), str(second.config), "nothing was done", "HOTSWAP_ADMIN", "--admin"):
            assert part in strange.stderr
        assert await generation(second) == 1
        # On the command line it is an order.
        assert (await verb(a, "reload", "--admin", f"unix:{second.admin.path}", **shared)).code == 0
        assert await generation(second) == 2

        for how in ("status", "reload", "stop"):
            alone = await verb(stopped, how, **shared)
            assert alone.code == 1, alone.stdout
            assert str(stopped / SOCKET) in alone.stderr
        attached = await verb(stopped, "run", "--attach", **shared)
        assert (attached.code, "no proxy waits" in attached.stderr) == (1, True), attached.stderr
        assert (await first.status())["takeover"] is None
        assert (await second.status())["takeover"] is None


@pytest.mark.fail_after(60)
async def test_its_socket_is_there_from_beginning_to_end_for_its_owner_alone(tmp_path: Path) -> None:
    """Made again when it was removed or replaced, with the whole directory or by itself; nobody listens on a port."""
    text, directory = project(tmp_path, "a")
    async with run_hotswap(text, directory, admin=SOCKET) as hotswap:
        path = directory / SOCKET
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        (told,) = (record for record in hotswap.records() if record["event"] == "admin.listening")
        assert told["addresses"] == [f"unix:{path}"]
        takeover = path.parent / "takeover.sock"
        removals = (path.unlink, takeover.unlink, lambda: shutil.rmtree(path.parent))
        replacements = (partial(put_file_at, path), partial(put_file_at, takeover))
        for remove in (*removals, *replacements):
            remove()
            while not (path.is_socket() and takeover.is_socket()):
                await trio.sleep(0.05)
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        await hotswap.wait_ready()
        done = await verb(directory, "reload")
        assert done.code == 0, done.stderr
        assert (await verb(directory, "takeover", "--probation", "200ms")).code == 0
        now = await verb(directory, "status", "--json")
        assert now.document["generation"] == 2, now.stderr
        stopped = await verb(directory, "stop")
        assert stopped.code == 0, stopped.stderr
        assert not path.exists()


def put_file_at(path: Path) -> None:
    """As a backup does that was restored over a running proxy."""
    path.unlink()
    path.touch()


@pytest.mark.fail_after(60)
async def test_a_second_start_is_told_which_proxy_runs_here(tmp_path: Path) -> None:
    """By the state directory where it is the same project, by the address of the page where it is another one."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    admin = f'[admin]\nbind = ["127.0.0.1:{port}"]\n'
    (text_a, a), (text_b, b) = project(tmp_path, "a", admin=admin), project(tmp_path, "b", admin=admin)
    (b / "hotswap.toml").write_text(text_b)
    async with run_hotswap(text_a, a, admin=SOCKET) as hotswap:
        words = f"a hotswap already runs here: {hotswap.config}, pid {hotswap.pid}"
        for directory in (a, b):
            second = await verb(directory, "run")
            assert second.code == 2
            assert words in second.stderr, second.stderr
        # The verbs of the other project are told as well: the address in its file is somebody else's.
        strange = await verb(b, "reload")
        assert strange.code == 1
        assert str(hotswap.config) in strange.stderr
        assert str(b / "hotswap.toml") in strange.stderr
        # Over TCP nobody may name a program or a file.
        named = await verb(a, "takeover", "--admin", f"http://127.0.0.1:{port}", "--to", "hotswap.toml")
        assert named.code == 3
        assert "not-over-this-address" in named.stderr
        assert await generation(hotswap) == 1
    with socket.create_server(("127.0.0.1", port)):
        other = await verb(a, "run")
        assert other.code == 2
        assert "Address already in use" in other.stderr
        assert "hotswap already runs" not in other.stderr


@pytest.mark.fail_after(60)
@pytest.mark.parametrize("before", ["", "here"])
async def test_a_state_directory_that_was_named_since_the_start_hides_no_proxy(tmp_path: Path, before: str) -> None:
    """The verbs find it where it is, and no second one of the same configuration is started beside it."""
    text, directory = project(tmp_path, "a")
    named = f'[proxy]\nstate_dir = "{tmp_path / before}"\n' if before else "[proxy]\n"
    text = text.replace("[proxy]\n", named, 1)
    admin = f"../{before}/admin.sock" if before else SOCKET
    async with run_hotswap(text, directory, admin=admin) as hotswap:
        elsewhere = f'[proxy]\nstate_dir = "{tmp_path / "elsewhere"}"\n'
        hotswap.config.write_text(hotswap.config.read_text().replace(named, elsewhere, 1))
        applied = await verb(directory, "apply")
        assert applied.code == 0, applied.stderr
        assert applied.stdout == "proxy.state_dir takes effect at the next start\n"
        second = await verb(directory, "run")
        assert second.code == 2
        assert f"a hotswap already runs here: {hotswap.config}, pid {hotswap.pid}" in second.stderr
        assert (await verb(directory, "stop")).code == 0


@pytest.mark.fail_after(60)
async def test_two_configurations_in_one_directory_never_share_their_state(tmp_path: Path) -> None:
    """The second is told who has it and what to do; with a directory of its own it runs, and each is found."""
    text, directory = project(tmp_path, "a")
    other = directory / "other.toml"
    other.write_text(text)
    async with run_hotswap(text, directory, admin=SOCKET) as hotswap:
        refused = await verb(directory, "run", "--config", str(other))
        assert refused.code == 2
        assert f"{hotswap.config}, pid {hotswap.pid}" in refused.stderr
        strange = await verb(directory, "stop", "--config", str(other))
        assert strange.code == 1
        assert str(hotswap.config) in strange.stderr
        assert str(other) in strange.stderr
        assert (await hotswap.status())["stopping"] is False


@pytest.mark.fail_after(60)
async def test_it_is_found_by_a_link_that_a_deploy_has_moved_on(tmp_path: Path) -> None:
    """Its state is in the release that it was started from; `reload` comes from the next, when the first is gone."""
    for number in (1, 2):
        text, directory = project(tmp_path, f"r{number}")
        (directory / "hotswap.toml").write_text(text.replace(f"{directory}", str(tmp_path / "current")))
    shared = surroundings(tmp_path)
    current = tmp_path / "current"
    current.symlink_to("r1")
    text = (current / "hotswap.toml").read_text()
    async with run_hotswap(text, current, environment=shared, admin=SOCKET) as hotswap:
        (tmp_path / "next").symlink_to("r2")
        (tmp_path / "next").rename(current)
        done = await verb(current, "reload", PWD=str(current), **shared)
        assert done.code == 0, done.stderr
        second = await verb(current, "run", PWD=str(current), **shared)
        assert second.code == 2
        assert f"a hotswap already runs here: {current}/hotswap.toml, pid {hotswap.pid}" in second.stderr
        shutil.rmtree(tmp_path / "r1")
        found = await verb(tmp_path, "status", "--json", "--config", str(current / "hotswap.toml"), **shared)
        while found.code:
            found = await verb(tmp_path, "status", "--json", "--config", str(current / "hotswap.toml"), **shared)
        assert found.document["pid"] == hotswap.pid
        hotswap.admin = Admin(tmp_path / "r1" / SOCKET)
    assert not await trio.Path(signpost_of(current / "hotswap.toml", shared)).is_symlink()


@pytest.mark.fail_after(90)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize("user", ["", USER])
async def test_a_group_may_deploy_and_reaches_nothing_else(reachable_directory: Path, user: str) -> None:
    """Through a directory that it cannot look into; sockets of backends are behind another one."""
    directory = reachable_directory
    python = reachable_python()
    pool = command_pool(directory, "faulty.plain", size=1, strategy="surge").replace(sys.executable, python)
    text = f'{PLAIN}user = "{user}"\n[admin]\ngroup = "{GROUP}"\n' + listeners() + pool
    program = (python, "-m", "hotswap")
    async with run_hotswap(text, directory, admin=SOCKET, program=program, environment=ENVIRONMENT) as hotswap:
        state = directory / ".hotswap"
        own = state / "admin.sock"
        assert modes(state, own, state / "backends") == [0o710, 0o660, 0o700]
        (backend,) = await hotswap.backends()
        others = [state / "takeover.sock", Path(backend["address"].removeprefix("unix:"))]
        assert others[1].parent == state / "backends"
        assert [connect_as_member(GROUP, path) for path in (own, *others)] == [REACHED, *[BARRED] * 2]
        assert connect_as_member("nogroup", own) == BARRED
        assert (await verb(directory, "takeover", "--probation", "200ms")).code == 0
        assert connect_as_member(GROUP, own) == REACHED
        if not user:
            shutil.rmtree(state)
            while not own.exists():
                await trio.sleep(0.05)
            assert modes(state, own, state / "backends") == [0o710, 0o660, 0o700]
            assert connect_as_member(GROUP, own) == REACHED
        assert (await verb(directory, "reload")).code == 0
        # The process that has taken over is no child of this one.
        assert (await verb(directory, "stop")).code == 0


@pytest.mark.fail_after(60)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
async def test_where_the_file_is_out_of_reach_its_state_is_with_the_user(reachable_directory: Path) -> None:
    """A directory of each configuration's own, below the state of whoever runs it; found without a word by the same."""
    directory = reachable_directory
    home = directory / "home"
    home.mkdir()
    os.chown(home, *[pwd.getpwnam(USER).pw_uid] * 2)
    python = reachable_python()
    pool = command_pool(directory, "faulty.plain", size=1).replace(sys.executable, python)
    text = PLAIN + "[admin]\n" + listeners() + pool
    become = ("setpriv", f"--reuid={USER}", "--clear-groups", "--no-new-privs")
    variables = {**ENVIRONMENT, "HOME": str(home), "XDG_STATE_HOME": str(home / "state"), "XDG_DATA_HOME": ""}
    place = default_place(directory / "hotswap.toml", home / "state")
    own = str((place / "admin.sock").relative_to(directory))
    program = (python, "-m", "hotswap")
    async with run_hotswap(
        text, directory, launcher=become, program=program, environment=variables, admin=own
    ) as hotswap:
        assert modes(place, place / "admin.sock") == [0o700, 0o600]
        found = await trio.run_process(
            [*become, *program, "status", "--json"],
            cwd=directory,
            env={"PATH": os.environ["PATH"], **variables},
            capture_stdout=True,
        )
        assert json.loads(found.stdout)["pid"] == hotswap.pid
        assert not (directory / ".hotswap").exists()


def default_place(file: Path, state_home: Path) -> Path:
    """The directory of a configuration alone, as the reference describes it."""
    digest = hashlib.sha256(os.fsencode(file)).hexdigest()[:8]
    return state_home / "hotswap" / f"{file.parent.name[:20]}-{digest}"


def modes(*paths: Path) -> list[int]:
    return [stat.S_IMODE(path.stat().st_mode) for path in paths]


@pytest.fixture
def reachable_directory() -> Iterator[Path]:
    """Root's, and others can enter it."""
    made = make_directory()
    yield made
    shutil.rmtree(made)
