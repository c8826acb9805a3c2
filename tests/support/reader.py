"""A reader of the documentation who does what a page says, at terminals of his own.

What runs until it is stopped (`hotswap run`, `make demo`, loops) gets a terminal to itself; at the end of the page it
must still be there, unless `hotswap stop` has ended it.

A page is read in an empty directory and, where the kernel allows it, in a network of its own, so that the ports are
literally those of the page.
"""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from tests.support.documented import Typed, Written, missing_line, steps
from tests.support.machine import Machine

ROOT = Path(__file__).parents[2]

READY_SECONDS = 30.0
"""How long what runs until it is stopped may take until it serves."""

MARK = "--- the command has ended:"

ALONE = """
import fcntl, os, socket, struct, subprocess, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
    fcntl.ioctl(probe, 0x8914, struct.pack("16sh", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: up and running
if os.path.isdir("/var/lib/nginx"):
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/var/lib/nginx"], check=True)
os.execvp(sys.argv[1], sys.argv[1:])
"""
"""A network of its own begins with everything down; nginx wants to own a directory that may be another user's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What runs at a terminal of its own.

    Attributes:
        step: what was typed there.
        pid: of its session.
        file: what it has shown so far.
    """

    step: Typed
    pid: int
    file: Path

    @property
    def serves(self) -> bool:
        """It is a proxy, and no loop."""
        return "hotswap run" in self.step.text or self.step.text == "make demo"

    @property
    def alive(self) -> bool:
        """Nobody has ended it, nor has it ended."""
        try:
            state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2][:1]
        except FileNotFoundError:
            return False
        return state != "Z"

    @property
    def proxy(self) -> int:
        """The process that is signalled to stop it; `make` would tell its child a second time, which means at once."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return int(children[0]) if self.step.text == "make demo" and children else self.pid

    def shown(self) -> str:
        """What the terminal shows."""
        return self.file.read_text(errors="replace")

    def __str__(self) -> str:
        return f"line {self.step.line}: $ {self.step.text}\n{self.shown()[-6000:]}"


class Reader:
    """Somebody who does what a page says."""

    def __init__(self, shell: trio.Process, directory: Path, *, root: Path = Path("/")) -> None:
        """Read with a shell, in a directory of the machine whose files are below `root`."""
        self._shell = shell
        self._directory = directory
        self._root = root
        self._rest = b""
        self._running: list[Running] = []

    async def follow(self, page: str) -> int:
        """Do everything, in order; gives how many commands were typed.

        Raises:
            AssertionError: something is not as the page says.
        """
        typed = 0
        for step in steps(page):
            match step:
                case Written(name=name, text=text):
                    path = self._root / str(await self._here() / name).lstrip("/")
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(text, encoding="utf-8")
                case Typed():
                    typed += 1
                    await (self._start(step) if step.endless else self._type(step))
        await self._end()
        return typed

    async def change_directory(self) -> None:
        """Go where this reader reads."""
        await self._run(f"cd {self._directory}")

    async def _type(self, step: Typed) -> None:
        code, output = await self._run(step.text)
        where = f"line {step.line}: $ {step.text}\n{output}{self._told()}"
        assert code == step.code, f"exit code {code}, not {step.code}: {where}"
        missing = missing_line(step.printed, output)
        assert missing is None, f"not printed: {missing}\n{where}"

    async def _start(self, step: Typed) -> None:
        handle, name = tempfile.mkstemp(dir=self._directory, prefix=".terminal-")
        os.close(handle)
        # A session of its own, as a terminal has.
        await self._run(f'TYPED={shlex.quote(step.text)}; setsid bash -c "$TYPED" >{name} 2>&1 &\nSTARTED=$!')
        _, pid = await self._run("echo $STARTED")
        running = Running(step=step, pid=int(pid), file=Path(name))
        self._running.append(running)
        wanted = ("…proxy.ready…", *step.printed) if running.serves else step.printed
        with trio.move_on_after(READY_SECONDS):
            while any(missing_line((one,), running.shown()) is not None for one in wanted):
                assert running.alive, f"it has ended: {running}"
                await trio.sleep(0.02)
            return
        raise AssertionError(f"not shown in time: {running}")

    async def _end(self) -> None:
        """See that whatever runs until it is stopped is still there, and stop it in order."""
        for running in reversed(self._running):
            if running.alive:
                whom = running.proxy if running.serves else -running.pid
                await self._run(f"kill -TERM {whom}; wait {running.pid}; true")
                assert not running.serves or "proxy.stopped" in running.shown(), str(running)
            else:
                assert running.serves, f"it has ended: {running}"
                assert "proxy.stopped" in running.shown(), str(running)
        self._running.clear()

    async def _here(self) -> Path:
        _, output = await self._run("pwd")
        return Path(output.strip())

    async def _run(self, text: str, *, seconds: float = 60.0) -> tuple[int, str]:
        assert self._shell.stdin is not None
        script = f"{{ {text}\n}} </dev/null 2>&1\nprintf '\\n%s %s\\n' '{MARK}' $?\n"
        await self._shell.stdin.send_all(script.encode())
        with trio.move_on_after(seconds):
            while (found := re.search(rf"\n{MARK} (\d+)\n".encode(), self._rest)) is None:
                assert self._shell.stdout is not None
                chunk = await self._shell.stdout.receive_some()
                assert chunk, f"the shell has ended at: {text}"
                self._rest += chunk
            output, self._rest = self._rest[: found.start()], self._rest[found.end() :]
            return int(found[1]), output.decode("utf-8", "replace")
        shown = self._rest.decode(errors="replace")
        raise AssertionError(f"took longer than {seconds:g} s: $ {text}\n{shown}{self._told()}")

    def _told(self) -> str:
        """What the other terminals show, for the message of a failure."""
        return "".join(f"\n--- {running}" for running in self._running)

    def kill(self) -> None:
        """End what is left of a page that failed."""
        for running in self._running:
            if running.alive:
                os.killpg(running.pid, signal.SIGTERM)


def lay_checkout(directory: Path) -> None:
    """Make a directory look like a checkout in which `make demo` has been before; only its `conf` is its own."""
    for entry in ROOT.iterdir():
        if entry.name not in {"conf", ".venv", ".hotswap", ".git"}:
            (directory / entry.name).symlink_to(entry)
    shutil.copytree(ROOT / "conf", directory / "conf", ignore=shutil.ignore_patterns("RELEASE"))
    environment = directory / ".venv"
    environment.mkdir()
    for entry in Path(sys.prefix).iterdir():
        if entry.name in {"bin", "lib", "lib64", "include", "pyvenv.cfg"}:
            (environment / entry.name).symlink_to(entry)
    # Newer than what it is made from, so nothing is installed.
    (environment / "installed-for-demo").touch()


@contextmanager
def _network() -> Iterator[list[str]]:
    """Give what has to stand before a command so that it has a network of its own; else, wait for the ports."""
    own = ["unshare", "--map-root-user", "--net", "--mount", sys.executable, "-c", ALONE]
    if shutil.which("unshare") and subprocess.run([*own, "true"], capture_output=True, check=False).returncode == 0:
        yield own
        return
    with open(Path(tempfile.gettempdir()) / f"hotswap-documented-{os.getuid()}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield []


@asynccontextmanager
async def open_reader(directory: Path, *, programs: Path = Path(sys.executable).parent) -> AsyncIterator[Reader]:
    """Be a reader in an empty directory, who has installed what the pages ask for, and finds it in `programs`."""
    variables = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(directory),
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        # So that installing what is there already asks nobody.
        "PIP_NO_INDEX": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    with _network() as network:
        async with _open_shell([*network, "bash", "--norc"], directory, variables) as shell:
            reader = Reader(shell, directory)
            try:
                yield reader
            finally:
                reader.kill()


@asynccontextmanager
async def open_root(machine: Machine, **variables: str) -> AsyncIterator[Reader]:
    """Be root of a machine, who has logged in with these variables beside the usual ones."""
    given = [f"{name}={value}" for name, value in variables.items()]
    async with _open_shell([*machine.enter, *given, "bash", "--norc"], Path("/"), dict(os.environ)) as shell:
        reader = Reader(shell, Path("/root"), root=machine.root)
        await reader.change_directory()
        yield reader


@asynccontextmanager
async def _open_shell(command: list[str], directory: Path, variables: dict[str, str]) -> AsyncIterator[trio.Process]:
    shell = await trio.lowlevel.open_process(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=directory,
        env=variables,
        start_new_session=True,
    )
    try:
        yield shell
    finally:
        shell.kill()
        with trio.CancelScope(shield=True):
            await shell.wait()
