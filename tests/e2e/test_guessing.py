"""Passwords that are guessed from many addresses cost nobody else anything that could be noticed."""

from __future__ import annotations

import os
import statistics
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path

import bcrypt
import pytest
import trio

from tests.support.bystanders import Answer, delays_of, run_bystander, run_program, run_torrent, wait_line
from tests.support.hotswap import run_hotswap
from tests.support.metronome import run_metronome
from tests.support.pools import table

pytestmark = [pytest.mark.alone, pytest.mark.fail_after(60)]

TURNS = 3
TIMES = 1.5
"""So much longer one of a hundred answers may take at least, while others guess."""
MARGIN = 0.003
"""Seconds besides: some turns of the proxy, which a busy machine adds to either."""
SHARE = 0.30
"""Of a processor, for passwords: a quarter, and some for how coarse a clock of ten milliseconds is."""
LONGEST_LOGIN = 5.0
"""Seconds until somebody is in who logs in for the first time."""


def basic(user: str, password: str) -> str:
    """Credentials, as a value of Authorization."""
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def threads_time(pid: int) -> float:
    """Seconds of processor time that the threads of a process have used beside its first one."""
    ticks = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        if int(task.name) != pid:
            fields = (task / "stat").read_text().rpartition(") ")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def rarely(delays: Sequence[tuple[Answer, float]]) -> float:
    """What one of a hundred takes at least."""
    return statistics.quantiles([delay for _, delay in delays], n=100)[-1]


async def log_in(port: int, number: int) -> float:
    """Log in from an address of its own, for the first time; gives the seconds."""
    sock = trio.socket.socket()
    try:
        await sock.bind((f"127.0.2.{number + 1}", 0))
        await sock.connect(("127.0.0.1", port))
        began = trio.current_time()
        value = basic(f"user{number}", "right").encode()
        await sock.send(b"GET /bystander HTTP/1.1\r\nHost: a\r\nAuthorization: %b\r\n\r\n" % value)
        answer = await sock.recv(4096)
        assert answer.startswith(b"HTTP/1.1 200 "), answer
        return trio.current_time() - began
    finally:
        sock.close()


async def test_guesses_cost_nobody_else_anything(tmp_path: Path):
    """Neither who asks for something else, nor who has logged in, and who logs in does not wait for them."""
    hashed = bcrypt.hashpw(b"right", bcrypt.gensalt(10)).decode()
    names = ["alice", *(f"user{number}" for number in range(TURNS))]
    (tmp_path / "users").write_text("".join(f"{name}:{hashed}\n" for name in names))
    torrent = tmp_path / "torrent.sock"
    text = (
        table("proxy", {"state_dir": "state", "log_format": "json", "access_log": "access.log"})
        + table("listeners.public", {"bind": ["127.0.0.1:0"], "limits": {"requests_per_connection": 0}})
        + '[[routes]]\nhosts = ["a"]\npool = "web"\nbasic_auth = "users"\n[[routes]]\npool = "web"\n'
        + table("pools.web", {"addresses": [f"unix:{torrent}"]})
    )
    async with run_torrent(torrent) as backend, run_hotswap(text, tmp_path) as proxy:
        address = (await proxy.target()).address
        assert isinstance(address, tuple)
        port = address[1]
        known = f"a\r\nAuthorization: {basic('alice', 'right')}"
        async with (
            run_bystander("b", port, proxy.pid) as other,
            run_bystander(known, port, proxy.pid) as user,
            run_metronome([backend.pid, other.process.pid, user.process.pid]) as waits,
        ):
            await user.next(seconds=0.1)

            async def look() -> tuple[float, ...]:
                first = len(user.answers) + 1
                answers = [await other.next()]
                answers.append(user.answers[first:])
                return tuple([rarely(await delays_of(one, waits)) for one in answers])

            quiet, guessed, shares, logins = [], [], [], []
            for turn in range(TURNS):
                quiet.append(await look())
                async with run_program("tests.support.guessers", str(port)) as guessers:
                    await wait_line(guessers, b"begun\n")
                    began, used = trio.current_time(), threads_time(proxy.pid)
                    guessed.append(await look())
                    logins.append(await log_in(port, turn))
                    shares.append((threads_time(proxy.pid) - used) / (trio.current_time() - began))
    # A busy machine makes one of a hundred slow at times, whoever guesses.
    usual, meanwhile = (tuple(map(statistics.median, zip(*turns, strict=True))) for turns in (quiet, guessed))
    share = statistics.median(shares)
    told = (
        f"1 of 100: {[f'{one * 1000:.2f}' for one in meanwhile]} ms, "
        f"quiet {[f'{one * 1000:.2f}' for one in usual]} ms; "
        f"{share:.2f} of a processor; logins {[f'{one:.2f}' for one in logins]} s"
    )
    print(told)
    assert all(one < TIMES * before + MARGIN for one, before in zip(meanwhile, usual, strict=True)), told
    assert share < SHARE, told
    assert max(logins) < LONGEST_LOGIN, told
