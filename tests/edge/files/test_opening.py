"""Files are opened beneath a root and nowhere else: paths, links, FIFOs, devices, sockets and races."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hotswap.edge.files import opening
from hotswap.edge.files.open_file import OpenFile
from hotswap.edge.files.opening import Ability, ability
from hotswap.edge.files.root import Root

SECRET = b"outside of the root"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A root with files, and everything that could lead out of it."""
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.css").write_bytes(SECRET)
    root = tmp_path / "root"
    (root / "css").mkdir(parents=True)
    (root / "css" / "a.css").write_bytes(b"inside")
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "up").symlink_to("../outside")
    (root / "inner").symlink_to("css/a.css")
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(root / "sock"))
    return root


@pytest.fixture(params=[Ability.CACHED, Ability.BENEATH, Ability.WALK], ids=lambda able: able.name.lower())
def able(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Ability:
    """Each way to open, on a kernel that has all."""
    if request.param is not ability():
        monkeypatch.setattr(opening, "ability", lambda: request.param)
    able: Ability = request.param
    return able


def read(file: OpenFile) -> bytes:
    data = os.pread(file.fd, file.size + 1, 0)
    file.close()
    return data


def test_a_file_is_opened(tree, able):
    """By its path, with what its inode says."""
    file = Root.at(str(tree)).open(b"css/a.css")
    assert (file.size, file.modified) == (6, (tree / "css" / "a.css").stat().st_mtime_ns)
    assert read(file) == b"inside"


@pytest.mark.parametrize(
    "path",
    [
        *(b"", b".", b"..", b"/", b"css/", b"css//a.css", b"./css/a.css", b"css/../css/a.css", b"../root/css/a.css"),
        *(b"/etc/passwd", b"css/a.css\0.png", b"nothing", b"css/a.css/more", b"link", b"up/a.css", b"inner"),
        *(b"fifo", b"sock", b"x" * 300, b"x/" * 3000 + b"x"),
    ],
)
def test_everything_else_is_not(tree, able, path):
    """Nor is a link followed that stays inside: nobody has to think about where one leads."""
    with pytest.raises(OSError) as raised:  # noqa: PT011  # the kinds are many
        Root.at(str(tree)).open(path)
    assert not isinstance(raised.value, BlockingIOError | IsADirectoryError)


def test_a_directory_is_told_apart(tree, able):
    """There may be an index in it."""
    with pytest.raises(IsADirectoryError):
        Root.at(str(tree)).open(b"css")


def test_a_device_is_no_file(able):
    """To open one may act already, so it is opened without waiting and closed unread."""
    with pytest.raises(FileNotFoundError):
        Root.at("/dev").open(b"null")


def test_links_of_proc_lead_nowhere(able):
    """They name what no path does: descriptors, the root directory and programs of processes."""
    with pytest.raises(OSError, match="symbolic links"):
        Root.at("/proc/self").open(b"exe")
    with pytest.raises(OSError, match=r"symbolic links|Not a directory"):
        Root.at("/proc/self").open(b"root/etc/passwd")


def test_the_root_itself_may_be_a_link(tree, able):
    """An operator named it: `current` is one."""
    (tree.parent / "current").symlink_to(tree)
    assert read(Root.at(str(tree.parent / "current")).open(b"css/a.css")) == b"inside"


def test_a_root_that_was_renamed_stays_the_one_it_was(tree, able):
    """It is kept open, not looked up again."""
    root = Root.at(str(tree))
    tree.rename(tree.parent / "old")
    assert read(root.open(b"css/a.css")) == b"inside"


def test_what_is_in_memory_is_opened_without_waiting(tree):
    """The kernel says so instead of going to the disk for it."""
    root = Root.at(str(tree), cached=True)
    root.open(b"css/a.css").close()
    assert read(root.open(b"css/a.css", cached=True)) == b"inside"


@pytest.mark.parametrize("able", [Ability.BENEATH, Ability.WALK], indirect=True)
def test_a_kernel_that_cannot_tell_is_not_waited_for(tree, able):
    """A job has to ask."""
    with pytest.raises(BlockingIOError):
        Root.at(str(tree), cached=True)
    with pytest.raises(BlockingIOError):
        Root.at(str(tree)).open(b"css/a.css", cached=True)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (errno.ENOSYS, Ability.WALK),
        (errno.EPERM, Ability.WALK),
        (errno.EINVAL, Ability.BENEATH),
        (errno.EAGAIN, Ability.CACHED),
    ],
)
def test_what_the_kernel_refuses_tells_what_it_can(monkeypatch, code, expected):
    """ENOSYS is an old kernel's word, EPERM a filter's, EINVAL that of one that does not know the last flag."""

    def refuse(*_arguments: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(opening, "_openat2", refuse)
    assert ability.__wrapped__() is expected


def test_descriptors_are_closed(tree, able):
    """Whatever came of it."""
    before = len(os.listdir("/proc/self/fd"))
    root = Root.at(str(tree))
    for path in (b"css/a.css", b"css", b"fifo", b"sock", b"link", b"css/none", b"none/none"):
        try:
            root.open(path)
        except OSError:
            pass
    del root
    assert len(os.listdir("/proc/self/fd")) == before


SEGMENTS = st.sampled_from(
    [b"..", b".", b"", b"css", b"a.css", b"link", b"up", b"inner", b"fifo", b"sock", b"secret", b"\xff", b"%2e%2e"]
)


@settings(max_examples=300)
@given(st.lists(SEGMENTS, max_size=8).map(b"/".join) | st.binary(max_size=40))
@example(b"css/../../secret")
def test_no_path_leads_out(tmp_path_factory, path):
    """Whatever is opened is a file of the root, by each of the ways."""
    tree = tmp_path_factory.getbasetemp() / "paths"
    if not tree.exists():
        (tree / "root" / "css").mkdir(parents=True)
        (tree / "secret").write_bytes(SECRET)
        (tree / "root" / "css" / "a.css").write_bytes(b"inside")
        (tree / "root" / "link").symlink_to("../secret")
        (tree / "root" / "up").symlink_to("..")
    root = Root.at(str(tree / "root"))
    for able in Ability:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(opening, "ability", lambda able=able: able)
            try:
                file = root.open(path)
            except OSError:
                continue
            assert read(file) == b"inside"


SWAP = """
import os, sys
place, kept, link = sys.argv[1:]
while True:
    os.rename(place, kept)
    os.rename(link, place)
    os.rename(place, link)
    os.rename(kept, place)
"""


@pytest.mark.parametrize("part", ["css", "css/a.css"])
def test_a_race_is_lost_by_the_attacker(tree, able, part):
    """A file or directory that is swapped for a link while it is opened: the link is never followed."""
    place, kept, link = tree / part, tree / "kept", tree / "evil"
    target = tree.parent / "outside"
    link.symlink_to(target if part == "css" else target / "a.css")
    root = Root.at(str(tree))
    opened = refused = 0
    with subprocess.Popen([sys.executable, "-c", SWAP, place, kept, link]) as swapping:
        try:
            while opened < 100 or refused < 100:
                try:
                    file = root.open(b"css/a.css")
                except OSError:
                    refused += 1
                    continue
                opened += 1
                assert read(file) == b"inside"
        finally:
            swapping.kill()
