"""A backend's life as a process, from spawned to gone."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys

import pytest
import trio

from hotswap.core.address import UnixAddress
from hotswap.core.errors import StartFailed, StartFailure
from hotswap.core.strategy import Listen
from hotswap.processes.exit_status import Exit
from hotswap.processes.guard import signal_group, start_time_of
from hotswap.processes.supervisor import BackendProcess, ProcessHandles

STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up")
while True: time.sleep(60)
"""

POLITE = """
import signal, sys, time
def leave(*_):
    print("closing"); sys.exit(0)
signal.signal(signal.SIGTERM, leave)
print("up")
while True: time.sleep(60)
"""

WITH_CHILD = """
import os, subprocess, sys
if "kept" in sys.argv:
    del os.environ["HOTSWAP_BACKEND"]
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], start_new_session="kept" in sys.argv)
print("child", child.pid)
"""

NOTIFY = """
import os, socket, sys
sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
def notify(message): sender.sendto(message.encode(), os.environ["NOTIFY_SOCKET"])
"""


@pytest.mark.parametrize(
    ("exit", "text"),
    [
        (Exit(code=0), "exit code 0"),
        (Exit(code=3), "exit code 3"),
        (Exit(signal=signal.SIGKILL), "killed by SIGKILL"),
        (Exit(signal=40), "killed by signal 40"),
        (Exit(), "exit status unknown"),
    ],
)
def test_an_exit_in_words(exit, text):
    """As it stands in logs and reports."""
    assert str(exit) == text


@pytest.mark.parametrize(
    ("exit", "text"),
    [
        (Exit(signal=signal.SIGTERM), "stopped"),
        (Exit(code=128 + signal.SIGTERM), "stopped"),
        (Exit(code=256 - signal.SIGTERM), "stopped"),
        (Exit(signal=signal.SIGKILL), "killed by SIGKILL"),
        (Exit(code=1), "exit code 1"),
        (Exit(code=0), "exit code 0"),
    ],
)
def test_who_was_asked_to_stop_and_did_has_stopped(exit, text):
    """However its server, or a shell around it, ends by SIGTERM; by itself it is as ever."""
    assert exit.in_words(asked=True) == text
    assert exit.in_words(asked=False) == str(exit)


async def test_an_exit_code_is_reported(stage):
    """To everybody who waits, also to those who come later."""
    process = stage.spawn("import sys; sys.exit(3)")
    assert process.exit is None
    assert await process.wait_exit() == await process.wait_exit() == process.exit == Exit(code=3)


async def test_a_fatal_signal_is_reported(stage):
    """A crash is told from an exit."""
    process = stage.spawn("import os; os.abort()")
    assert await process.wait_exit() == Exit(signal=signal.SIGABRT)


async def test_the_last_lines_are_complete_when_the_exit_is_reported(stage):
    """Whoever reports a failure has the whole story."""
    process = stage.spawn("import os\nfor n in range(1000): print('line', n)\nos._exit(1)")
    await process.wait_exit()
    assert process.output_lines() == tuple(f"line {n}" for n in range(950, 1000))
    assert stage.lines.seen == [f"line {n}" for n in range(1000)]


async def test_output_that_is_huge_neither_blocks_nor_fills_memory(stage):
    """A backend that writes 50 MB without a line end gets to its end."""
    process = stage.spawn("import os\nfor n in range(50): os.write(1, b'x' * 1_000_000)")
    assert await process.wait_exit() == Exit(code=0)
    assert len(process.output_lines()[0]) < 10_000


async def test_nothing_of_it_is_left_behind(stage):
    """Its socket paths are removed, whoever made them, and it is reaped."""
    process = stage.spawn(
        "import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])",
        "{socket}",
        listen=Listen.UNIX,
        notify=True,
    )
    assert await process.wait_exit() == Exit(code=0), process.output_lines()
    assert os.listdir(stage.directory) == []
    assert start_time_of(process.pid) is None


async def test_a_stop_lets_the_process_finish(stage):
    """The stop signal asks; how the process ended is reported."""
    process = stage.spawn(POLITE)
    await stage.lines.wait_for("up")
    killed = await process.stop(stop_timeout=30)
    assert process.exit == Exit(code=0)
    assert not killed
    assert process.output_lines() == ("up", "closing")


async def test_the_stop_signal_is_the_servers_own(stage):
    """waitress is asked with SIGINT, because SIGTERM would cut it off."""
    process = stage.spawn(POLITE.replace("SIGTERM", "SIGINT"), stop_signal=signal.SIGINT)
    await stage.lines.wait_for("up")
    await process.stop(stop_timeout=30)
    assert process.exit == Exit(code=0)


async def test_one_that_does_not_stop_is_killed_in_the_end(stage, wait_gone):
    """After `stop_timeout`, with its whole group."""
    with_child = "import subprocess\nprint('child', subprocess.Popen(['sleep', '60']).pid)\n"
    process = stage.spawn(with_child + STUBBORN)
    child = int((await stage.lines.wait_for("child")).split()[1])
    await stage.lines.wait_for("up")
    killed = await process.stop(stop_timeout=0.2)
    assert process.exit == Exit(signal=signal.SIGKILL)
    assert killed
    await wait_gone(child)


async def test_one_that_was_suspended_takes_the_stop_signal_too(stage):
    """It is continued so that it can."""
    process = stage.spawn(POLITE)
    await stage.lines.wait_for("up")
    os.kill(process.pid, signal.SIGSTOP)
    assert not await process.stop(stop_timeout=30)


async def test_what_is_left_of_its_group_is_ended_with_it(stage, wait_gone):
    """A worker whose master crashed must not go on holding the socket."""
    process = stage.spawn(WITH_CHILD, STUBBORN)
    child = int((await stage.lines.wait_for("child")).split()[1])
    assert await process.wait_exit() == Exit(code=0)
    await wait_gone(child)


async def test_a_daemon_that_holds_its_output_does_not_delay_its_end(stage, lives):
    """One that is meant to stay, without the mark of its backend, may keep the pipe open as long as it likes."""
    process = stage.spawn(WITH_CHILD, STUBBORN, "kept")
    child = int((await stage.lines.wait_for("child")).split()[1])
    try:
        with trio.fail_after(10):
            await process.wait_exit()
        assert lives(child)
    finally:
        os.kill(child, signal.SIGKILL)


async def test_signals_after_the_end_are_harmless(stage):
    """Its process id may belong to somebody else by then."""
    process = stage.spawn("pass")
    await process.wait_exit()
    process.terminate(stop_timeout=1)
    process.kill()
    await process.stop(stop_timeout=1)
    assert process.exit == Exit(code=0)


async def test_cancelling_the_watch_ends_nothing(stage, lives):
    """The process lives on and can be watched again, by this or by another proxy."""
    process = stage.spawn(POLITE, serve=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(process.serve)
        await stage.lines.wait_for("up")
        nursery.cancel_scope.cancel()
    assert process.exit is None
    assert lives(process.pid)
    stage.serve(process)
    await process.stop(stop_timeout=30)
    assert process.exit == Exit(code=0)


async def test_handles_are_all_it_takes_to_go_on(stage):
    """Another object takes over where the first one left, with the lines kept so far."""
    os.mkfifo(path := stage.directory / "fifo")
    old = stage.spawn(
        NOTIFY + "print('up')\nnotify('STATUS=' + open(sys.argv[1]).read())\nprint('end')",
        str(path),
        serve=False,
        notify=True,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(old.serve)
        await stage.lines.wait_for("up")
        nursery.cancel_scope.cancel()
    new = BackendProcess(
        old.handles,
        address=old.address,
        stop_signal=signal.SIGTERM,
        relay=stage.lines,
        log=stage.log,
        tail=old.output_lines(),
        adopted=True,
    )
    stage.spawned[:] = [new]
    stage.serve(new)
    await new.wait_notified()
    await trio.to_thread.run_sync(path.write_text, "adopted")
    assert await new.wait_exit() == Exit(code=0)
    assert new.output_lines() == ("up", "end")
    assert new.status == "adopted"


@pytest.fixture
def foreign_process():
    """The process id of one whose parent is another process that reaps it."""
    program = (
        "import subprocess\n"
        "child = subprocess.Popen(['sleep', '60'], start_new_session=True, stdout=subprocess.DEVNULL)\n"
        "print(child.pid, flush=True)\n"
        "child.wait()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        yield pid
        signal_group(pid, start_time_of(pid) or 0, signal.SIGKILL)


async def test_a_process_of_another_parent_can_be_adopted(stage, foreign_process):
    """It is watched and ended like a child; only how it ended stays unknown."""
    start = start_time_of(foreign_process)
    assert start is not None
    pidfd = os.pidfd_open(foreign_process)
    process = BackendProcess(
        ProcessHandles(pid=foreign_process, start=start, pidfd=pidfd, output=None, notify=None),
        address=UnixAddress(str(stage.directory / "sock")),
        stop_signal=signal.SIGTERM,
        relay=stage.lines,
        log=stage.log,
        adopted=True,
    )
    stage.serve(process)
    killed = await process.stop(stop_timeout=30)
    assert process.exit == Exit()
    assert not killed


async def test_a_group_is_not_ended_when_its_number_belongs_to_somebody_else(stage):
    """A process id that was used again is told by the time at which its process started."""
    stranger = stage.spawn(POLITE)
    await stage.lines.wait_for("up")
    assert not signal_group(stranger.pid, stranger.start - 1, signal.SIGKILL)
    assert signal_group(stranger.pid, stranger.start, 0)
    await stranger.stop(stop_timeout=30)
    assert stranger.exit == Exit(code=0)


async def test_ready_means_an_answer_and_not_a_connect(stage):
    """A backend that listens and does not answer is not ready."""
    process = stage.spawn("import time; print('up'); time.sleep(60)")
    with pytest.raises(StartFailed) as caught:
        await stage.wait_ready(process, start_timeout=0.5, timeout="100ms")
    assert caught.value.reason is StartFailure.TIMED_OUT
    assert caught.value.output == ("up",)
    assert process.exit is None


async def test_a_backend_that_answers_is_ready(stage):
    """Over the socket it inherited."""
    process = stage.spawn()
    await stage.wait_ready(process, healthy_after=3)


async def test_a_backend_that_dies_at_start_fails_with_its_last_words(stage):
    """The traceback is in the report."""
    process = stage.spawn("print('booting'); import no_such_module")
    with pytest.raises(StartFailed, match="exited with status 1") as caught:
        await stage.wait_ready(process)
    assert caught.value.reason is StartFailure.EXITED
    assert caught.value.output[0] == "booting"
    assert caught.value.output[-1] == "ModuleNotFoundError: No module named 'no_such_module'"


async def test_a_backend_that_notifies_is_asked_only_after_ready(stage):
    """READY=1 first, then the health check; the status text is kept."""
    process = stage.spawn(NOTIFY + "notify('STATUS=warm\\nREADY=1')\n" + stage.HEALTHY, notify=True)
    await stage.wait_ready(process)
    assert process.ready_said
    assert process.status == "warm"


async def test_a_backend_that_never_notifies_is_not_ready_though_it_answers(stage):
    """`ready = "notify"` asks for both."""
    process = stage.spawn(notify=True)
    with pytest.raises(StartFailed, match="no READY=1") as caught:
        await stage.wait_ready(process, start_timeout=0.5)
    assert caught.value.reason is StartFailure.TIMED_OUT


@pytest.mark.parametrize("ending", ["sys.exit(1)", "import time; time.sleep(60)"])
async def test_a_backend_that_cannot_serve_fails_with_its_error(stage, ending):
    """Whether it exits afterwards or not; the status text is part of the reason."""
    process = stage.spawn(NOTIFY + f"notify('ERRNO=98\\nSTATUS=port 5432')\n{ending}", notify=True)
    with pytest.raises(StartFailed) as caught:
        await stage.wait_ready(process)
    assert caught.value.reason is StartFailure.CANNOT_SERVE
    assert caught.value.detail == f"it cannot serve: {os.strerror(errno.EADDRINUSE)} (EADDRINUSE): port 5432"


async def test_a_backend_may_say_that_it_is_stopping(stage):
    """On its way out."""
    process = stage.spawn(NOTIFY + "notify('STOPPING=1')", notify=True)
    await process.wait_exit()
    assert process.stopping_said


async def test_nonsense_is_logged_a_few_times_and_harms_nothing(stage):
    """A thousand messages that mean nothing are no reason to fail, nor to fill the log."""
    process = stage.spawn(
        NOTIFY + "for n in range(1000): notify('\\0nonsense')\nnotify('READY=1')\n" + stage.HEALTHY, notify=True
    )
    await stage.wait_ready(process)
    events = [entry["event"] for entry in stage.capture.entries]
    assert set(events) == {"backend.notification_ignored"}
    assert 0 < len(events) <= 10


async def test_nobody_else_can_speak_for_a_backend(stage):
    """A message of this process, which is not of the backend's session, is ignored."""
    process = stage.spawn(notify=True)
    notify = process.handles.notify
    assert notify is not None
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"READY=1", notify.path)
    while not stage.capture.entries:
        await trio.sleep(0.01)
    assert not process.ready_said
    assert f"process {os.getpid()}" in str(stage.capture.entries[0]["ignored"])
