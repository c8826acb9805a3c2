"""The shim between spawn and server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hotswap.processes import guard
from hotswap_backends import launch

REPORT = "import os; print(os.getpid(), os.getcwd(), os.environ.get('LISTEN_PID'))"


def run(*argv, parent=None, directory="", environment=None, **options):
    """Run the shim as the proxy does, and wait for what it became."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-I",
            "-S",
            launch.__file__,
            str(os.getpid() if parent is None else parent),
            str(directory),
            *argv,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
        **options,
    )
    output, errors = process.communicate(timeout=30)
    return process, output, errors


def test_it_becomes_the_program(tmp_path):
    """The same process id, in the directory asked for; without a socket there is no LISTEN_PID."""
    process, output, _ = run(sys.executable, "-c", REPORT, directory=tmp_path)
    assert output.split() == [str(process.pid), str(tmp_path), "None"]


def test_it_says_whom_the_socket_is_for():
    """LISTEN_PID is the program's own process id, as sd_listen_fds(3) wants it."""
    process, output, _ = run(sys.executable, "-c", REPORT, environment={"LISTEN_FDS": "1"})
    assert output.split()[2] == str(process.pid)


def test_it_marks_what_the_program_starts():
    """With the process id and the start time, which together no other process has."""
    report = "import os; print(os.environ['HOTSWAP_BACKEND'], open('/proc/self/stat').read().split()[21])"
    process, output, _ = run(sys.executable, "-c", report)
    mark, start = output.split()
    assert mark == f"{process.pid}-{start}"
    assert guard.MARK.decode() == "HOTSWAP_BACKEND="


def test_without_a_directory_it_stays_where_it_is(tmp_path):
    """An empty directory is no directory."""
    _, output, _ = run(sys.executable, "-c", REPORT, cwd=tmp_path)
    assert output.split()[1] == str(tmp_path)


def test_it_does_not_start_a_program_for_a_proxy_that_is_gone():
    """Nobody would know of the process, so nobody would end it."""
    process, output, _ = run(sys.executable, "-c", REPORT, parent=os.getppid())
    assert process.returncode == launch.CANNOT_RUN
    assert output == ""


@pytest.mark.parametrize(
    ("program", "code", "reason"),
    [
        ("no-such-program-anywhere", launch.NOT_FOUND, "No such file or directory"),
        ("/dev/null/program", launch.NOT_FOUND, "Not a directory"),
        ("/dev/null", launch.CANNOT_RUN, "Permission denied"),
    ],
)
def test_a_program_that_cannot_be_run_is_told(program, code, reason):
    """With the exit codes of a shell."""
    process, _, errors = run(program)
    assert process.returncode == code
    assert errors == f"hotswap: cannot run {program}: {reason}\n"


def test_it_needs_nothing_but_the_standard_library():
    """The interpreter that runs it looks at no site directory, and it is quick for that."""
    imports = {
        line.split()[1].partition(".")[0]
        for line in Path(launch.__file__).read_text().splitlines()
        if line.startswith(("import ", "from "))
    }
    assert imports <= set(sys.stdlib_module_names)
