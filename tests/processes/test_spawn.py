"""How a backend begins: what it is given, and what it is kept from."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path

import pytest
import trio
import trio.lowlevel

from hotswap.core.address import TcpAddress, UnixAddress
from hotswap.core.errors import BackendError
from hotswap.core.strategy import Listen
from hotswap.processes.exit_status import Exit
from hotswap.processes.listening import Transport
from hotswap.processes.spawn import fill_placeholders

REPORT = """
import json, os, socket, sys
def status(name):
    return next(int(line.split()[1], 16) for line in open("/proc/self/status") if line.startswith(name))
fds = sorted(map(int, os.listdir("/proc/self/fd")))[:-1]
print("report", json.dumps(dict(
    pid=os.getpid(), session=os.getsid(0), group=os.getpgrp(), directory=os.getcwd(), arguments=sys.argv[1:],
    environment=dict(os.environ), fds=fds, stdin=os.readlink("/proc/self/fd/0"),
    blocked=status("SigBlk:"), ignored=status("SigIgn:"),
    family=socket.socket(fileno=3).family.name if 3 in fds else None,
)))
"""

NAMED_SIGNALS = (1 << 31) - 1
"""Every signal with a name; glibc ignores two of its own in all that `posix_spawn` starts."""

PYTHONS_OWN = (signal.SIGPIPE, signal.SIGXFSZ)
"""What every Python program ignores by itself."""


async def report_of(stage, **options):
    """Spawn a program that tells how it finds itself, and give that."""
    process = stage.spawn(REPORT, *options.pop("arguments", ()), **options)
    line = await stage.lines.wait_for("report")
    assert await process.wait_exit() == Exit(code=0)
    return process, json.loads(line.removeprefix("report "))


async def test_the_contract_is_in_its_environment(stage):
    """The listening socket is announced as systemd does it, and the backend knows who it is."""
    process, report = await report_of(stage, pool="shop", slot=3, generation=7)
    environment = report["environment"]
    assert environment["LISTEN_FDS"] == "1"
    assert environment["LISTEN_PID"] == str(process.pid) == str(report["pid"])
    assert environment["LISTEN_FDNAMES"] == "http"
    assert environment["HOTSWAP_POOL"] == "shop"
    assert environment["HOTSWAP_SLOT"] == "3"
    assert environment["HOTSWAP_GENERATION"] == "7"
    assert "NOTIFY_SOCKET" not in environment


async def test_a_directory_that_was_removed_a_moment_ago_is_no_obstacle(stage):
    """It is made again before its owner looks for it the next time; nobody else can enter it."""
    stage.directory.rmdir()
    process = stage.spawn(directory="/")
    await stage.wait_ready(process)
    assert stage.directory.stat().st_mode & 0o777 == 0o700


async def test_what_the_proxy_was_told_by_its_own_supervisor_is_not_passed_on(stage):
    """A backend that answered systemd in the proxy's name would confuse both."""
    _, report = await report_of(
        stage,
        listen=Listen.UNIX,
        environment={
            "NOTIFY_SOCKET": "/run/systemd/notify",
            "WATCHDOG_USEC": "1",
            "LISTEN_FDS": "2",
            "LISTEN_PID": "1",
            "KEPT": "yes",
        },
    )
    assert report["environment"]["KEPT"] == "yes"
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID"} & set(report["environment"])


async def test_a_notify_socket_is_given_when_it_is_asked_for(stage):
    """Its path is in the proxy's own directory."""
    _, report = await report_of(stage, notify=True)
    assert Path(report["environment"]["NOTIFY_SOCKET"]).parent == stage.directory


@pytest.mark.parametrize(
    ("listen", "transport", "fds", "family"),
    [
        (Listen.FD, Transport.UNIX, [0, 1, 2, 3], "AF_UNIX"),
        (Listen.FD, Transport.TCP, [0, 1, 2, 3], "AF_INET"),
        (Listen.UNIX, Transport.UNIX, [0, 1, 2], None),
        (Listen.TCP, Transport.UNIX, [0, 1, 2], None),
    ],
)
async def test_it_has_no_other_files(stage, listen, transport, fds, family):
    """Even what the proxy left inheritable by mistake is closed."""
    leaks = [os.open(os.devnull, os.O_RDONLY) for _ in range(3)]
    for leak in leaks:
        os.set_inheritable(leak, True)
    try:
        _, report = await report_of(stage, listen=listen, transport=transport)
    finally:
        for leak in leaks:
            os.close(leak)
    assert report["fds"] == fds
    assert report["family"] == family
    assert report["stdin"] == os.devnull


async def test_it_leads_a_session_of_its_own(stage):
    """Signals of the terminal do not reach it, and its group can be ended whole."""
    process, report = await report_of(stage)
    assert report["session"] == report["group"] == process.pid
    assert report["session"] != os.getsid(0)


async def test_signals_are_as_a_program_expects_them(stage):
    """None is blocked, whatever this process blocks or ignores; only SIGUSR2 is ignored."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        _, report = await report_of(stage)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        signal.signal(signal.SIGINT, before)
    assert report["blocked"] == 0
    expected = (signal.SIGUSR2, *PYTHONS_OWN)
    assert report["ignored"] & NAMED_SIGNALS == sum(1 << (number - 1) for number in expected)


async def test_programs_that_are_no_python_find_sigpipe_at_its_default(stage):
    """What Python ignores for itself is not passed on."""
    process = stage.spawn(argv=("grep", "SigIgn", "/proc/self/status"))
    line = await stage.lines.wait_for("SigIgn")
    assert int(line.split()[1], 16) & NAMED_SIGNALS == 1 << (signal.SIGUSR2 - 1)
    assert await process.wait_exit() == Exit(code=0)


async def test_the_reload_signal_is_harmless_at_every_moment_of_its_boot(stage):
    """SIGUSR2 sent to the group from the first instruction on, again and again, ends nothing."""
    for _ in range(5):
        process = stage.spawn("print('booted')")
        while process.exit is None and not any("booted" in line for line in stage.lines.seen):
            os.killpg(process.pid, signal.SIGUSR2)
            await trio.lowlevel.checkpoint()
        assert await process.wait_exit() == Exit(code=0)
        stage.lines.seen.clear()


async def test_it_runs_in_its_directory_with_its_arguments(stage, tmp_path):
    """Arguments are passed as they are, only the placeholders are filled in."""
    directory = tmp_path / "app"
    directory.mkdir()
    process, report = await report_of(
        stage,
        directory=str(directory),
        slot=4,
        generation=2,
        arguments=("{fd}", "{socket}", "{host}:{port}", "{slot}/{generation}", '{"json": {}}', ""),
    )
    assert report["directory"] == str(directory)
    assert report["arguments"] == ["3", process.address.path, ":", "4/2", '{"json": {}}', ""]


def test_placeholders_of_a_backend_on_tcp():
    """Host and port are those it will be reached at."""
    argv = ("serve", "--bind={host}:{port}", "{socket}", "{other}")
    filled = fill_placeholders(argv, address=TcpAddress("127.0.0.1", 8001), slot=0, generation=1)
    assert filled == ("serve", "--bind=127.0.0.1:8001", "", "{other}")


def test_placeholders_are_replaced_once():
    """A path that looks like a placeholder stays a path."""
    filled = fill_placeholders(("{socket}",), address=UnixAddress("/run/{slot}"), slot=0, generation=1)
    assert filled == ("/run/{slot}",)


async def test_output_is_not_held_back_in_a_buffer(stage):
    """Python programs write through, so that their last words are not lost."""
    process = stage.spawn("import os; print('last words'); os._exit(3)")
    assert await process.wait_exit() == Exit(code=3)
    assert process.output_lines() == ("last words",)


async def test_standard_error_is_relayed_in_order_with_standard_output(stage):
    """Both are one stream of lines."""
    process = stage.spawn(
        "import sys\nfor n in range(3): print(n, file=sys.stdout if n % 2 else sys.stderr, flush=True)"
    )
    await process.wait_exit()
    assert process.output_lines() == ("0", "1", "2")


@pytest.mark.parametrize(
    ("argv", "code", "line"),
    [
        (("no-such-program",), 127, "cannot run no-such-program: No such file or directory"),
        (("/dev/null",), 126, "cannot run /dev/null: Permission denied"),
    ],
)
async def test_a_program_that_cannot_be_run_ends_with_a_line_that_says_so(stage, argv, code, line):
    """As in a shell; the reason is in the output like that of any failed start."""
    process = stage.spawn(argv=argv)
    assert await process.wait_exit() == Exit(code=code)
    assert process.output_lines() == (f"hotswap: {line}",)


async def test_a_directory_that_is_missing_is_told(stage, tmp_path):
    """The program is not started somewhere else."""
    process = stage.spawn(directory=str(tmp_path / "missing"))
    assert await process.wait_exit() == Exit(code=127)
    assert "cannot enter" in process.output_lines()[0]


async def test_only_the_backend_holds_its_socket(stage):
    """While it lives connects succeed, and from the moment it is gone they are refused."""
    process = stage.spawn(serve=False)
    for _ in range(3):
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(process.address.path)
    os.kill(process.pid, signal.SIGKILL)
    await trio.lowlevel.wait_readable(process.handles.pidfd)
    with socket.socket(socket.AF_UNIX) as caller, pytest.raises(ConnectionRefusedError):
        caller.connect(process.address.path)


async def test_arguments_that_no_program_can_be_given_are_an_error(stage):
    """And nothing is left behind: no path, no open file."""
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(BackendError, match="cannot start a process for backend web-0-1"):
        stage.spawn(argv=(sys.executable, "nul\0byte"), notify=True)
    assert os.listdir(stage.directory) == []
    assert len(os.listdir("/proc/self/fd")) == before


async def test_nothing_is_left_open_afterwards(stage):
    """A thousand generations must not fill the table of files."""
    await report_of(stage, notify=True)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        stage.lines.seen.clear()
        await report_of(stage, notify=True)
    assert len(os.listdir("/proc/self/fd")) == before
    assert os.listdir(stage.directory) == []
