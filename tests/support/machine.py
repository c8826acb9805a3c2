"""A machine of its own, for what a page tells root to do: this one's files beneath a layer that is thrown away.

Its systemd is process 1 of namespaces of its own (processes, mounts, network, cgroups), so units, users, ports below
1024 and files below /etc are literally those of the page, and nothing of it is left on the machine of the tests.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.tools import refuse, require_tool

BOOT_SECONDS = 30

BOOT = r"""
set -e
root=$1
mount --make-rprivate /
mount -t tmpfs tmpfs "$2"
mkdir "$2/upper" "$2/work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$2/upper,workdir=$2/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
umount -R "$root/sys/fs/cgroup" 2>/dev/null || true
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
for place in run tmp dev root; do mount -t tmpfs -o mode=755 tmpfs "$root/$place"; done
chmod 1777 "$root/tmp" && chmod 700 "$root/root"
rm -rf "$root/etc/xdg/pip"
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
for device in null:3 zero:5 full:7 random:8 urandom:9; do
    mknod -m 666 "$root/dev/${device%:*}" c 1 "${device#*:}"
done
mknod -m 666 "$root/dev/tty" c 5 0
# A bare machine runs none of the services that the tests have installed, and its network is there at once.
rm -rf "$root/etc/systemd/system"
mkdir "$root/etc/systemd/system"
ln -s /dev/null "$root/etc/systemd/system/systemd-networkd-wait-online.service"
ip link set lo up 2>/dev/null || python3 -c "$3"
# No chroot: processes in one may not make user namespaces, as PrivateUsers= of a unit does.
mkdir "$root/old"
cd "$root"
pivot_root . old
umount -l old
rmdir old
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=basic.target --show-status=0 --log-target=null
"""

LOOPBACK = """
import fcntl, socket, struct
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
    fcntl.ioctl(probe, 0x8914, struct.pack("16sh", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: up and running
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A running machine.

    Attributes:
        pid: of its systemd, as the machine of the tests counts.
        root: its files, as the machine of the tests sees them.
    """

    pid: int
    root: Path

    @property
    def enter(self) -> list[str]:
        """What stands before a command that is to run in it, as root, with the environment of a fresh login."""
        namespaces = ["--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup"]
        home = ["HOME=/root", "LANG=C.UTF-8", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
        return ["nsenter", "-t", str(self.pid), *namespaces, "--root", "--wd", "env", "-i", *home]

    def run(self, *command: str) -> str:
        """Run a command in it, and give what it prints.

        Raises:
            AssertionError: it failed.
        """
        done = subprocess.run([*self.enter, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout


def _cgroups() -> Path:
    """Where version 2 of cgroups is mounted: alone, or beside version 1."""
    for line in Path("/proc/self/mounts").read_text(encoding="ascii").splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(place)
    raise AssertionError("cgroup2 is not mounted")


@contextmanager
def open_machine() -> Iterator[Machine]:
    """Boot one, and throw it away in the end; without the rights or programs for it the test is skipped, but in CI.

    Raises:
        AssertionError: it did not boot.
    """
    if os.geteuid() != 0:
        refuse("a machine of its own needs root")
    for program, package in (("unshare", "util-linux"), ("nsenter", "util-linux"), ("systemctl", "systemd")):
        require_tool(program, package=package)
    # Neither the name nor the layer may lie beneath the root that is overlaid, so the layer is in memory.
    with tempfile.TemporaryDirectory(prefix="machine-") as folder:
        for name in ("root", "layer"):
            Path(folder, name).mkdir()
        group = _cgroups() / Path(folder).name
        group.mkdir()
        boot = ["bash", "-c", BOOT, "boot", f"{folder}/root", f"{folder}/layer", LOOPBACK]
        spaces = ["--pid", "--mount", "--cgroup", "--uts", "--ipc", "--net", "--fork", "--kill-child"]
        joined = f'echo $$ > {group}/cgroup.procs && exec "$@"'
        with tempfile.TemporaryFile() as told:
            outer = subprocess.Popen(
                ["sh", "-c", joined, "sh", "unshare", *spaces, *boot],
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=subprocess.STDOUT,
            )
            try:
                yield _wait_booted(outer, group)
            except AssertionError as error:
                told.seek(0)
                error.add_note(told.read().decode(errors="replace"))
                raise
            finally:
                _throw_away(outer, group)


def _wait_booted(outer: subprocess.Popen[bytes], group: Path) -> Machine:
    """Wait until its systemd has started what belongs to it."""
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
    script = f"""
    until pid=$(cat {children} 2>/dev/null) && [ "$(cat /proc/${{pid% }}/comm 2>/dev/null)" = systemd ] \\
        && nsenter -t ${{pid% }} -a --root --wd systemctl is-system-running --wait >/dev/null 2>&1
    do [ -e /proc/{outer.pid} ] || exit 1; done
    """
    done = subprocess.run(["timeout", str(BOOT_SECONDS), "bash", "-c", script], check=False)
    assert done.returncode == 0, f"no machine in {BOOT_SECONDS} s"
    pid = int(children.read_text().split()[0])
    return Machine(pid=pid, root=Path(f"/proc/{pid}/root"))


def _throw_away(outer: subprocess.Popen[bytes], group: Path) -> None:
    """End everything in it: with process 1 of a namespace all others of it end."""
    kill = group / "cgroup.kill"
    if kill.exists():
        kill.write_text("1")
    else:
        outer.send_signal(signal.SIGKILL)
    outer.wait()
    # The last of its processes are reaped a moment after process 1, and say so by an event of their group.
    with open(group / "cgroup.events", encoding="ascii") as events:
        deadline = time.monotonic() + BOOT_SECONDS
        while "populated 1" in events.read():
            left = deadline - time.monotonic()
            assert left > 0, f"something is left in {group}"
            waiting = select.poll()
            waiting.register(events, select.POLLPRI)
            waiting.poll(left * 1000)
            events.seek(0)
    for folder, _, _ in os.walk(group, topdown=False):
        os.rmdir(folder)


def copy_into(machine: Machine, source: Path, place: str) -> None:
    """Lay a file or a folder of the machine of the tests into it."""
    target = machine.root / place.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        shutil.copy(source, target)
