"""What will disappoint of files that the proxy answers and of the disk that it uses."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from hotswap.control.configuration.outside import read_within
from hotswap.core.config import Configuration, PoolTable, RouteTable, SupervisedPoolTable
from hotswap.core.quantities import format_size
from hotswap.core.server import Interface

LOOK_TIMEOUT: Final = 1.0
"""Seconds for one look; of a disk that does not answer now nothing is said, since it may do so later."""

OF_THE_MACHINE: Final = frozenset(
    (
        *("/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/proc", "/root"),
        *("/run", "/sbin", "/sys", "/tmp", "/usr", "/usr/share", "/var", "/var/lib"),
    )
)
"""Directories in which everything else of the machine is."""


def find_file_cautions(config: Configuration) -> Iterator[str]:
    """Say which directories of files are missing or have more than was meant, and for which pool the disk is small."""
    for index, route in enumerate(config.routes):
        where = f"routes[{index}]"
        with suppress(OSError):
            if route.files.startswith("/"):
                yield from _of_directory(where, route)
            elif route.files:
                yield from _of_releases(where, route, config.pools.get(route.pool))
        if route.strip_prefix and not route.path.strip("/"):
            yield f"{where}.strip_prefix: there is nothing to take off with the path /; leave it out"
    for name, pool in config.pools.items():
        if isinstance(pool, SupervisedPoolTable) and _buffers(pool):
            with suppress(OSError):
                yield from _of_spool(name, pool, config.proxy.state_dir)


def _of_directory(where: str, route: RouteTable) -> Iterator[str]:
    place = route.files
    real = read_within(partial(os.path.realpath, place), place, timeout=LOOK_TIMEOUT)
    if real in OF_THE_MACHINE or real == os.path.realpath(Path.home()):
        yield (
            f"{where}.files: {place} is of the whole machine, and what is in it is answered to everybody; name a "
            "directory of its own"
        )
    else:
        yield from _missing(where, place, route, f"mkdir -p {place}")


def _of_releases(where: str, route: RouteTable, pool: PoolTable | None) -> Iterator[str]:
    if isinstance(pool, SupervisedPoolTable):
        place = os.path.normpath(os.path.join(pool.directory, route.files))
        if place == os.path.normpath(pool.directory):
            yield (
                f"{where}.files is the release itself, and its source is answered to everybody; name the directory "
                "that a build writes"
            )
        else:
            way_out = "have a deploy make it before it reloads, as collectstatic or the build of a front end does"
            yield from _missing(where, place, route, way_out)


def _missing(where: str, place: str, route: RouteTable, way_out: str) -> Iterator[str]:
    """Say that there is no such directory, or no file in it for what is not found."""
    if not read_within(partial(os.path.isdir, place), place, timeout=LOOK_TIMEOUT):
        instead = f"pool {route.pool} is asked for every file" if route.pool else "every file is answered 404"
        yield f"{where}.files: there is no directory {place} now, so {instead}; {way_out}"
    elif route.fallback:
        page = os.path.join(place, route.fallback)
        if not read_within(partial(os.path.isfile, page), page, timeout=LOOK_TIMEOUT):
            yield f"{where}.fallback: there is no file {page} now"


def _buffers(pool: SupervisedPoolTable) -> bool:
    return pool.buffer is True or (pool.buffer == "auto" and pool.interface is Interface.WSGI)


def _of_spool(name: str, pool: SupervisedPoolTable, state_dir: str) -> Iterator[str]:
    free = read_within(partial(_free, state_dir), state_dir, timeout=LOOK_TIMEOUT)
    if pool.spool > free:
        yield (
            f"pools.{name}.spool is {format_size(pool.spool)}, and {free >> 20} MiB are free where {state_dir} is: "
            "what does not fit is passed on as it comes, and slow clients hold the app; make it smaller, or have "
            "proxy.state_dir on a larger disk"
        )


def _free(state_dir: str) -> int:
    """Free bytes of the disk on which a directory is, or will be made."""
    place = Path(state_dir)
    while not place.exists() and place != place.parent:
        place = place.parent
    return shutil.disk_usage(place).free
