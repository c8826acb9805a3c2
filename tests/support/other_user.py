"""A proxy that root starts and that becomes somebody else: what that user can reach, and a directory for it."""

from __future__ import annotations

import grp
import os
import pwd
import site
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from tests.support.hotswap import SOURCES

USER = "nobody"

ENVIRONMENT = {"PYTHONPATH": os.pathsep.join([SOURCES, *site.getsitepackages()])}
"""Finds the program with an interpreter that knows nothing of this environment."""


def reachable_python() -> str:
    """An interpreter of our version that `USER` may run; one below root's home cannot be reached by others."""
    version = sysconfig.get_python_version()
    entry = pwd.getpwnam(USER)
    for python in (sys.executable, f"/usr/bin/python{version}", f"/usr/local/bin/python{version}"):
        try:
            subprocess.run([python, "-c", ""], user=entry.pw_uid, group=entry.pw_gid, cwd="/", check=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return python
    raise AssertionError(f"no Python {version} that {USER} may run; apt-get install python3")


REACHED, BARRED = "reached", "Permission denied"

_CONNECT = """
import socket, sys
kind = socket.SOCK_SEQPACKET if sys.argv[1].endswith("/takeover.sock") else socket.SOCK_STREAM
try:
    socket.socket(socket.AF_UNIX, kind).connect(sys.argv[1])
except OSError as error:
    print(error.strerror)
else:
    print("reached")
"""


def connect_as_member(group: str, path: Path) -> str:
    """What a user without rights gets who is in a group and connects to a socket: `REACHED`, or why not."""
    done = subprocess.run(
        [reachable_python(), "-I", "-S", "-c", _CONNECT, path],
        user=12345,  # neither root nor whom a proxy becomes
        group=12345,
        extra_groups=[grp.getgrnam(group).gr_gid],
        cwd="/",
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def make_directory() -> Path:
    """A directory that others can enter, which those of pytest are not; to be removed by whoever asked."""
    directory = Path(tempfile.mkdtemp(prefix="hotswap-"))
    directory.chmod(0o755)
    return directory
