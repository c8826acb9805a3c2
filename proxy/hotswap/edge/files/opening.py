"""Opens files beneath a directory and nowhere else (openat2(2)), without waiting for a disk where that is asked for.

The kernel walks the path: no `..` above the directory, no absolute path, no symbolic link in any part of it, no magic
link of `/proc`, and nothing that is swapped meanwhile changes that. Where it has no such call, or a filter of system
calls forbids it (ENOSYS, EPERM), each part is opened by itself without following links, which holds the same and
takes a system call each.

RESOLVE_CACHED asks for an answer out of memory alone, so that the loop never waits for a disk that is slow or dead.
"""

from __future__ import annotations

import ctypes
import errno
import os
from enum import Enum
from functools import cache
from typing import Final

_OPENAT2: Final = 437
"""The number of the system call, on every architecture."""
_AT_FDCWD: Final = -100
_NO_MAGICLINKS: Final = 0x02
_NO_SYMLINKS: Final = 0x04
_BENEATH: Final = 0x08
_CACHED: Final = 0x20
_FILE: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""`O_NONBLOCK` so that a FIFO without a writer is opened, and refused, instead of waited for."""
_DIRECTORY: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_STEP: Final = _DIRECTORY | os.O_NOFOLLOW


class _How(ctypes.Structure):
    """`struct open_how`."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_libc: Final = ctypes.CDLL(None, use_errno=True)
_syscall: Final = _libc.syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(_How), ctypes.c_size_t)

_SAFE: Final = _BENEATH | _NO_MAGICLINKS | _NO_SYMLINKS
_FILE_NOW: Final = _How(_FILE, 0, _SAFE | _CACHED)
_FILE_WAITING: Final = _How(_FILE, 0, _SAFE)
_DIRECTORY_NOW: Final = _How(_DIRECTORY, 0, _CACHED)


class Ability(Enum):
    """What the kernel can do when a path is opened."""

    CACHED = "openat2, out of memory alone too"
    BENEATH = "openat2"
    WALK = "no openat2"


@cache
def ability() -> Ability:
    """What this kernel allows this process; asked once."""
    try:
        os.close(_openat2(_AT_FDCWD, b"/", _DIRECTORY_NOW))
    except BlockingIOError:
        return Ability.CACHED
    except OSError as error:
        return Ability.BENEATH if error.errno == errno.EINVAL else Ability.WALK
    return Ability.CACHED


def _openat2(directory: int, path: bytes, how: _How) -> int:
    while True:
        fd: int = _syscall(_OPENAT2, directory, path, how, 24)
        if fd >= 0:
            return fd
        code = ctypes.get_errno()
        if code != errno.EINTR:
            raise OSError(code, os.strerror(code))


def open_directory(path: str, *, cached: bool) -> int:
    """Open a directory that the operator named, following links, to open files beneath it.

    Args:
        path: absolute.
        cached: never wait for a disk.

    Raises:
        BlockingIOError: it cannot be told out of memory alone.
        OSError: it cannot be opened, or is no directory.
    """
    if not cached:
        return os.open(path, _DIRECTORY)
    if ability() is not Ability.CACHED:
        raise BlockingIOError(errno.EAGAIN, "the kernel cannot tell without a disk")
    return _openat2(_AT_FDCWD, os.fsencode(path), _DIRECTORY_NOW)


def open_beneath(directory: int, path: bytes, *, cached: bool) -> int:
    """Open whatever has this path beneath a directory, for reading; what it is has to be looked at.

    Args:
        directory: descriptor of the directory.
        path: relative, of plain segments: an empty one, `.`, `..` and NUL are not found.
        cached: never wait for a disk.

    Raises:
        BlockingIOError: it cannot be told out of memory alone.
        FileNotFoundError: there is nothing.
        OSError: it cannot be opened, or a link is in the way.
    """
    segments = path.split(b"/")
    if b"" in segments or b".." in segments or b"." in segments or b"\0" in path:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    able = ability()
    if cached:
        if able is not Ability.CACHED:
            raise BlockingIOError(errno.EAGAIN, "the kernel cannot tell without a disk")
        return _openat2(directory, path, _FILE_NOW)
    if able is not Ability.WALK:
        return _openat2(directory, path, _FILE_WAITING)
    return _walk(directory, segments)


def _walk(directory: int, segments: list[bytes]) -> int:
    *directories, name = segments
    place = directory
    try:
        for segment in directories:
            inner = os.open(segment, _STEP, dir_fd=place)
            if place != directory:
                os.close(place)
            place = inner
        return os.open(name, _FILE | os.O_NOFOLLOW, dir_fd=place)
    finally:
        if place != directory:
            os.close(place)
