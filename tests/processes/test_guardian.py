"""What becomes of backends when the proxy dies without a word."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio

from hotswap.processes.guard import END_TIMEOUT, IGNORED, guard, mark_of, members_of, start_time_of
from hotswap.processes.guardian import Guardian, wait_guardians_gone

PROXY = """
import subprocess, sys
from hotswap.processes.guard import start_time_of
from hotswap.processes.guardian import Guardian
guardian = Guardian()
backends = [subprocess.Popen([sys.executable, "-c", program], start_new_session=True) for program in sys.argv[2:]]
for backend in backends:
    guardian.watch(backend.pid, start_time_of(backend.pid))
pid = guardian.pid
exec(sys.argv[1])
print(pid, *[backend.pid for backend in backends], flush=True)
sys.stdin.read()
"""
"""A proxy that starts backends and says the process ids of its guardian and of each backend."""

POLITE = "import time; time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"


class StandIn:
    """A process that plays the proxy."""

    def __init__(self, *backends, then="pass"):
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROXY, then, *backends],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self.guardian, *self.backends = map(int, self.process.stdout.readline().split())

    def kill(self):
        """Let it die without a word."""
        self.process.kill()
        self.process.wait()

    def close(self):
        """End everything that still lives."""
        for pid in (*self.backends, self.process.pid, self.guardian):
            assert pid > 1
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        with self.process:
            pass


@pytest.fixture
def play():
    """Start stand-ins, and end them after the test."""
    playing = []

    def start(*backends, then="pass"):
        playing.append(StandIn(*backends, then=then))
        return playing[-1]

    yield start
    for stand_in in playing:
        stand_in.close()


async def test_backends_do_not_outlive_a_killed_proxy(play, wait_gone):
    """Neither the polite ones nor those that ignore SIGTERM, within the promised time."""
    proxy = play(POLITE, STUBBORN, POLITE)
    while not _ignores(proxy.backends[1], signal.SIGTERM):
        await trio.sleep(0.02)
    began = time.monotonic()
    proxy.kill()
    await wait_gone(*proxy.backends, proxy.guardian)
    assert time.monotonic() - began < END_TIMEOUT


async def test_the_guardian_says_what_it_does(play):
    """On the proxy's standard error, for whoever wonders where the backends went."""
    proxy = play(POLITE)
    proxy.kill()
    assert b"its guardian ends 1 backends" in proxy.process.stderr.read()


async def test_a_suspended_backend_is_ended_too(play, wait_gone):
    """SIGTERM reaches it when it is continued."""
    proxy = play(POLITE)
    os.kill(proxy.backends[0], signal.SIGSTOP)
    began = time.monotonic()
    proxy.kill()
    await wait_gone(*proxy.backends)
    assert time.monotonic() - began < END_TIMEOUT


async def test_after_a_farewell_backends_are_left_alone(play, lives, wait_gone):
    """As proxies of older versions say it, which had handed them over or ended them."""
    proxy = play(POLITE, then="import os; os.write(guardian.pipe, b'farewell\\n'); os.close(guardian.pipe)")
    await wait_gone(proxy.guardian)
    proxy.kill()
    assert lives(proxy.backends[0])


async def test_a_forgotten_backend_is_left_alone(play, lives, wait_gone):
    """Somebody else looks after it."""
    proxy = play(POLITE, POLITE, then="guardian.forget(backends[0].pid); guardian.forget(1)")
    proxy.kill()
    await wait_gone(proxy.guardian)
    assert [lives(pid) for pid in proxy.backends] == [True, False]


async def test_a_group_whose_number_was_used_again_is_left_alone(play, lives, wait_gone):
    """The leader's start time tells."""
    proxy = play(POLITE, then="guardian.watch(backends[0].pid, 1)")
    proxy.kill()
    await wait_gone(proxy.guardian)
    assert lives(proxy.backends[0])


async def test_members_of_a_group_are_ended_when_its_leader_is_gone(play, lives, wait_gone):
    """A worker must not survive because its master did not."""
    orphan = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1]])"
    proxy = play(f"import sys; sys.argv.append({POLITE!r}); {orphan}", then="backends[0].wait()")
    leader = proxy.backends[0]
    (member,) = _members(leader)
    assert lives(member)
    proxy.kill()
    await wait_gone(member)


async def test_who_has_left_the_group_is_ended_with_the_session(play, wait_gone, lives):
    """A worker in a group of its own, as shells and process managers make them."""
    apart = "import os, sys; os.setpgid(0, 0); exec(sys.argv[1])"
    child = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {apart!r}, sys.argv[1]])"
    proxy = play(f"import sys; sys.argv.append({STUBBORN!r}); {child}; {POLITE}")
    leader = proxy.backends[0]
    while not (members := [pid for pid in _of_session(leader) if os.getpgid(pid) == pid != leader]):
        await trio.sleep(0.01)
    proxy.kill()
    await wait_gone(leader, *members)


async def test_daemons_of_a_killed_proxy_are_ended_by_their_mark(play, wait_gone, lives):
    """They have a session of their own and another parent, and the variables of their backend."""
    program = (
        "import os, subprocess, sys, time\n"
        "from hotswap.processes.guard import start_time_of\n"
        "mark = f'{os.getpid()}-{start_time_of(os.getpid())}'\n"
        "for marked in (mark, f'{os.getpid()}-1'):\n"
        "    subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True,\n"
        "                     env={**os.environ, 'HOTSWAP_BACKEND': marked})\n"
        "time.sleep(60)"
    )
    proxy = play(program)
    (leader,) = proxy.backends
    while len(daemons := _children(leader)) < 2 or not all(map(any, map(mark_of, daemons))):
        await trio.sleep(0.01)
    (ended,) = (pid for pid in daemons if mark_of(pid)[1] == start_time_of(leader))
    (other,) = set(daemons) - {ended}
    proxy.kill()
    await wait_gone(leader, ended)
    assert lives(other)
    os.kill(other, signal.SIGKILL)


def _children(pid):
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _of_session(session):
    return members_of({session: 0})[session] or []


def test_the_guardian_does_not_wait_for_the_dead_to_be_reaped():
    """Whoever inherits them may take its time; a zombie can be signalled and is nobody to wait for."""
    reading, writing = os.pipe()
    with start_backend() as backend:
        start = start_time_of(backend.pid)
        assert start is not None
        os.write(writing, b"watch %d %d\n" % (backend.pid, start))
        os.close(writing)
        began = time.monotonic()
        assert guard(reading) == 1
        assert time.monotonic() - began < 1
        assert os.waitid(os.P_PID, backend.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    os.close(reading)


def start_backend():
    """Start a polite backend that nobody watches so far."""
    return subprocess.Popen([sys.executable, "-c", POLITE], start_new_session=True)


def _ignores(pid, number):
    with open(f"/proc/{pid}/status") as status:
        ignored = next(line.split()[1] for line in status if line.startswith("SigIgn:"))
    return bool(int(ignored, 16) & 1 << (number - 1))


def _members(group):
    """Process ids of the group without its leader."""
    found = []
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and int(name) != group and os.getpgid(int(name)) == group:
                found.append(int(name))
        except ProcessLookupError:
            pass
    return found


async def test_signals_do_not_end_the_guardian(play, wait_gone):
    """Neither those that the proxy's group gets nor those that are sent to it by mistake."""
    proxy = play(POLITE)
    assert os.getsid(proxy.guardian) == proxy.guardian
    for number in IGNORED:
        os.kill(proxy.guardian, number)
    os.killpg(proxy.process.pid, signal.SIGKILL)
    proxy.process.wait()
    await wait_gone(*proxy.backends)


async def test_another_guardian_takes_over_from_one_that_died(lives, wait_gone):
    """It knows the same groups."""
    guardian = Guardian()
    with start_backend() as backend:
        start = start_time_of(backend.pid)
        assert start is not None
        guardian.watch(backend.pid, start)
        first = guardian.pid
        assert guardian.alive()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(guardian.serve)
            os.kill(first, signal.SIGKILL)
            while guardian.pid == first or not guardian.alive():
                await trio.sleep(0.02)
            nursery.cancel_scope.cancel()
        assert lives(backend.pid)
        assert not lives(first)
        backend.kill()
    second = guardian.pid
    os.close(guardian.pipe)
    await wait_gone(second)


async def test_verbs_on_a_dead_guardian_replace_it(wait_gone):
    """Without a wait for the next look at it."""
    guardian = Guardian()
    first = guardian.pid
    os.kill(first, signal.SIGKILL)
    await wait_gone(first)
    guardian.watch(2**22 - 1, 1)
    assert guardian.pid != first
    assert guardian.alive()
    os.close(guardian.pipe)


async def test_what_was_adopted_changes_guardians_group_by_group(lives, wait_gone):
    """Until then the first one watches it; what was not adopted stays with it, and ends with its proxy."""
    first = Guardian()
    with start_backend() as adopted, start_backend() as kept, start_backend() as given_back:
        starts = {backend.pid: start_time_of(backend.pid) or 0 for backend in (adopted, kept, given_back)}
        for pid, start in starts.items():
            first.watch(pid, start)
        second = Guardian(os.dup(first.pipe))
        second.adopt(adopted.pid, starts[adopted.pid])
        second.adopt(given_back.pid, starts[given_back.pid])
        second.give_back(given_back.pid)
        assert second.watched == frozenset()
        second.settle()
        assert second.watched == {adopted.pid}
        first.leave([adopted.pid])
        assert first.watched == {kept.pid, given_back.pid}
        # As when its proxy dies.
        os.close(first.pipe)
        await wait_gone(first.pid)
        assert [lives(backend.pid) for backend in (adopted, kept, given_back)] == [True, False, False]
        os.close(second.pipe)
        await wait_gone(second.pid)
        assert not lives(adopted.pid)


async def test_the_first_guardian_acts_only_when_both_proxies_are_dead(lives, wait_gone):
    """For as long as backends could return to the first proxy."""
    first = Guardian()
    with start_backend() as adopted:
        start = start_time_of(adopted.pid) or 0
        first.watch(adopted.pid, start)
        theirs = os.dup(first.pipe)
        second = Guardian(theirs)
        second.adopt(adopted.pid, start)
        os.close(second.pipe)
        await wait_gone(second.pid)
        os.close(theirs)
        assert lives(adopted.pid)
        assert first.alive()
        os.close(first.pipe)
        await wait_gone(first.pid)
        assert not lives(adopted.pid)


async def test_whoever_starts_anew_can_wait_for_the_guardian_of_a_proxy_that_was_killed(lives, tmp_path):
    """Until nothing of it is left, and at once when there is none, or when that cannot be known."""
    lock = tmp_path / "guardian.lock"
    assert not await wait_guardians_gone(lock)
    assert not await wait_guardians_gone(tmp_path / "nowhere" / "guardian.lock")
    guardian = Guardian(lock=lock)
    with start_backend() as backend:
        guardian.watch(backend.pid, start_time_of(backend.pid) or 0)
        os.close(guardian.pipe)
        assert await wait_guardians_gone(lock)
        assert not lives(backend.pid)
    assert not await wait_guardians_gone(lock)


async def test_a_spawned_backend_is_watched_until_it_is_gone(stage):
    """From its first moment on, and no longer than it lives."""
    guardian = Guardian()
    watched = []
    process = stage.spawn(POLITE, guardian=guardian)
    watched.append(process.pid in guardian.watched)
    process.kill()
    await process.wait_exit()
    watched.append(process.pid in guardian.watched)
    os.close(guardian.pipe)
    assert watched == [True, False]
