"""Processes of a run: started with their own session and log file, ended by the pid we were given."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

START_TIMEOUT = 30.0
STOP_TIMEOUT = 10.0
_POLL_INTERVAL = 0.02


class NotServing(Exception):
    """A process of the run did not answer in time, or ended; the message has the end of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to start: arguments, and what the environment has on top of ours."""

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A living process of the run."""

    name: str
    pid: int
    log: Path
    process: subprocess.Popen[bytes]

    def log_tail(self, *, lines: int = 12) -> str:
        """Return the last lines that the process wrote to stdout and stderr."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


@contextlib.contextmanager
def open_process(
    command: Command, *, name: str, directory: Path, processors: Collection[int] = ()
) -> Iterator[Running]:
    """Start ``command`` in a session of its own; end it (SIGTERM, later SIGKILL to its group) on the way out.

    Args:
        command: what to start.
        name: for messages and the log's file name.
        directory: where the log goes.
        processors: bind the process to these; empty means no binding.
    """
    log = directory / f"{name}.log"
    allowed = os.sched_getaffinity(0)
    with log.open("wb") as output:
        # A child inherits the binding of the thread that forks it; this needs no code between fork and exec.
        if processors:
            os.sched_setaffinity(0, processors)
        try:
            process = subprocess.Popen(
                command.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **command.environment},
                cwd=command.directory,
                start_new_session=True,
            )
        finally:
            os.sched_setaffinity(0, allowed)
    try:
        yield Running(name=name, pid=process.pid, log=log, process=process)
    finally:
        _stop(process)


def wait_serving(running: Running, *, port: int | None = None, path: Path | None = None) -> None:
    """Return when ``GET /healthz`` on loopback ``port`` or the unix socket ``path`` is answered with 200.

    Raises:
        NotServing: the process ended, or 30 seconds have passed.
    """
    deadline = time.monotonic() + START_TIMEOUT
    seen = "no answer"
    while time.monotonic() < deadline:
        if running.process.poll() is not None:
            raise NotServing(f"{running.name} ended with {running.process.returncode}:\n{running.log_tail()}")
        try:
            status = _ask(port=port, path=path)
        except (OSError, http.client.HTTPException) as error:
            seen = repr(error)
        else:
            if status == http.HTTPStatus.OK:
                return
            seen = f"status {status}"
        time.sleep(_POLL_INTERVAL)
    raise NotServing(f"{running.name} is not serving after {START_TIMEOUT:.0f} s ({seen}):\n{running.log_tail()}")


def choose_ports(count: int) -> list[int]:
    """Return ``count`` different loopback ports that are free now.

    The peers cannot report what port 0 became, so they are chosen here, from those that the kernel gives to nobody who
    asks for any: one of these might be somebody else's before it is used.
    """
    first_given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    ports: list[int] = []
    while len(ports) < count:
        port = random.randrange(max(1024, first_given - 16384), first_given)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            if port not in ports:
                ports.append(port)
    return ports


def _ask(*, port: int | None, path: Path | None) -> int:
    with socket.socket(socket.AF_UNIX if path else socket.AF_INET) as connection:
        connection.settimeout(2.0)
        connection.connect(str(path) if path else ("127.0.0.1", port))
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        response = http.client.HTTPResponse(connection)
        with contextlib.closing(response):
            response.begin()
            response.read()
            return response.status


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=STOP_TIMEOUT)
