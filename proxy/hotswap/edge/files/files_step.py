"""Answers requests of a route with files: of the releases of its pool, newest first, or of one directory.

What was found is kept for a second, small contents longer: after that it is looked whether they are still the same. So
a file of a release costs a look into memory most times, and a file that is written anew is seen a second later.
"""

from __future__ import annotations

import os.path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from hotswap.core.errors import Side
from hotswap.core.files.conditions import FileRequest, asked_of
from hotswap.core.files.file_path import file_path
from hotswap.core.files.hashed_name import is_hashed, is_hashed_anywhere
from hotswap.core.files.page import wants_page
from hotswap.edge.files.disk_call import DiskCall, FilesPlane
from hotswap.edge.files.file_answer import answer_file, refuse
from hotswap.edge.files.look_up import PathPlace, look_up, open_roots

if TYPE_CHECKING:
    from hotswap.core.config.routes import RouteTable
    from hotswap.edge.files.open_file import OpenFile
    from hotswap.edge.files.root import Root
    from hotswap.edge.rules.rule_step import Entering

FRESH_SECONDS: Final = 1.0
"""Seconds for which what was found is believed."""
KEPT_PLACES: Final = 4096
"""Paths of one route that are remembered."""
KEPT_BYTES: Final = 16 * 1024 * 1024
"""Bytes of contents of one route that are kept."""
KEPT_KEY_BYTES: Final = 512
"""Longer paths are not remembered."""
COMPLAINTS: Final = 60.0
"""Seconds between two complaints about files that cannot be read."""

_METHODS: Final = (b"Allow", b"GET, HEAD")
_OPTIONS: Final = (b"Allow", b"GET, HEAD, OPTIONS")
_FALLBACK: Final = b"\0fallback"
"""Key of the fallback among the places; no path has a NUL in it."""


class FilesStep:
    """The files of one route.

    Args:
        plane: the data plane.
        table: the route.
        alone: no other step judges its requests, so that the same request has the same answer.
    """

    __slots__ = (
        "_alone",
        "_checked",
        "_complained",
        "_directories",
        "_epoch",
        "_fallback",
        "_files",
        "_kept",
        "_missing",
        "_paths",
        "_places",
        "_plane",
        "_pool",
        "_prefix",
        "_relative",
        "_roots",
        "_siblings",
    )

    def __init__(self, plane: FilesPlane, table: RouteTable, *, alone: bool = False) -> None:
        self._plane = plane
        self._alone = alone
        self._pool = table.pool
        self._prefix = unquote_to_bytes(table.path).rstrip(b"/")
        self._files = table.files
        self._relative = not os.path.isabs(table.files)
        self._fallback = os.fsencode(table.fallback)
        self._siblings = table.compress
        self._directories: tuple[str, ...] = ()
        self._paths: tuple[str, ...] = () if self._relative else (table.files,)
        self._roots: tuple[Root, ...] = ()
        self._checked = -FRESH_SECONDS  # when the roots were
        self._epoch = 0  # grows when the roots change
        self._missing: set[str] = set()  # of the paths, those that were said to be
        self._complained = -COMPLAINTS
        self._places: dict[bytes, PathPlace] = {}
        self._kept = 0  # bytes of them

    def take(self, exchange: Entering) -> bool:
        """Answer with a file, where there is one."""
        head = exchange.head
        method = head.method
        if (method != b"GET" and method != b"HEAD") or head.upgrade is not None:
            return self._pass_by(exchange)
        if self._relative:
            directories = self._plane.directories(self._pool)
            if directories is not self._directories:
                self._follow(directories)
        return self._answer(exchange, asked_of(head), head.path)

    def _answer(self, exchange: Entering, asked: FileRequest, key: bytes) -> bool:
        place = self._places.get(key)
        if place is not None and place.epoch == self._epoch and self._plane.poller.now - place.checked < FRESH_SECONDS:
            if place.root is None or place.directory:
                return self._deliver(exchange, asked, key, place, None)
            stored = place.stored.get(place.coding_for(asked.accept_encoding))
            if stored is not None and stored.body is not None:
                same_until = place.checked + FRESH_SECONDS if self._alone else 0.0
                answer_file(self._plane, exchange, stored, asked, None, same_until=same_until)
                return False
        path = self._fallback if key == _FALLBACK else file_path(key, self._prefix)
        if path is None:
            return self._miss(exchange, asked, key, b"")
        return self._seek(exchange, asked, key, path, place)

    def _seek(self, exchange: Entering, asked: FileRequest, key: bytes, path: bytes, before: PathPlace | None) -> bool:
        """Find a file out of memory, or have a job look for it on the disk."""
        paths, known, siblings, coding = self._paths, self._roots, self._siblings, asked.accept_encoding
        hashed = key != _FALLBACK and (is_hashed if self._relative else is_hashed_anywhere)(path)
        try:
            if self._plane.poller.now - self._checked >= FRESH_SECONDS:
                self._set_roots(open_roots(paths, known, cached=True))
            place, file = look_up(self._roots, path, coding, before, cached=True, siblings=siblings, hashed=hashed)
        except BlockingIOError:
            pass
        except OSError as error:
            self._fail(exchange, error)
            return False
        else:
            self._keep(key, place)
            return self._deliver(exchange, asked, key, place, file)

        def work() -> tuple[tuple[Root, ...], PathPlace, OpenFile | None]:
            roots = open_roots(paths, known, cached=False)
            return roots, *look_up(roots, path, coding, before, cached=False, siblings=siblings, hashed=hashed)

        def done(found: tuple[tuple[Root, ...], PathPlace, OpenFile | None]) -> None:
            roots, place, file = found
            if paths is self._paths:
                self._set_roots(roots)
                self._keep(key, place)
            if self._deliver(exchange, asked, key, place, file):
                exchange.proceed()

        def failed(error: OSError) -> None:
            self._fail(exchange, error)

        DiskCall(self._plane, exchange, work, done, failed)
        return False

    def _deliver(
        self, exchange: Entering, asked: FileRequest, key: bytes, place: PathPlace, file: OpenFile | None
    ) -> bool:
        if place.root is None:
            if place.refused:
                self._complain(place.path, "permission denied")
            return self._miss(exchange, asked, key, place.path)
        if place.directory:
            head = exchange.head
            # One slash in front: with two it would be another host.
            location = b"/" + head.path.lstrip(b"/") + b"/" + head.target[len(head.path) :]
            refuse(self._plane, exchange, 301, fields=((b"Location", location),))
            return False
        stored = place.stored[place.coding_for(asked.accept_encoding)]
        answer_file(self._plane, exchange, stored, asked, file)
        return False

    def _miss(self, exchange: Entering, asked: FileRequest, key: bytes, path: bytes) -> bool:
        """There is no such file."""
        if self._pool and not self._fallback:
            return True
        if self._fallback and key != _FALLBACK and wants_page(exchange.head, path):
            return self._answer(exchange, asked, _FALLBACK)
        if self._pool:
            return True
        refuse(self._plane, exchange, 404, error="no such file")
        return False

    def _pass_by(self, exchange: Entering) -> bool:
        """Not a request for a file: the pool's, if there is one."""
        if self._pool:
            return True
        if exchange.head.method == b"OPTIONS":
            refuse(self._plane, exchange, 200, fields=(_OPTIONS,))
        elif exchange.head.upgrade is not None:
            refuse(self._plane, exchange, 404, error="a file cannot be upgraded to")
        else:
            refuse(self._plane, exchange, 405, error="files are only read", fields=(_METHODS,))
        return False

    # What is known.

    def _follow(self, directories: tuple[str, ...]) -> None:
        """The pool has other releases."""
        same = directories == self._directories
        self._directories = directories
        if not same:
            self._paths = tuple(os.path.join(directory, self._files) for directory in directories)
            self._missing.intersection_update(self._paths)
            self._checked = -FRESH_SECONDS
            self._roots = tuple(root for root in self._roots if root.path in self._paths)
            self._epoch += 1

    def _set_roots(self, roots: tuple[Root, ...]) -> None:
        self._checked = self._plane.poller.now
        if roots != self._roots:
            self._roots = roots
            self._epoch += 1
        if len(roots) < len(self._paths):
            there = {root.path for root in roots}
            for path in self._paths:
                if path not in there and path not in self._missing:
                    self._missing.add(path)
                    self._plane.log.warning("files.missing", pool=self._pool, directory=path)

    def _keep(self, key: bytes, place: PathPlace) -> None:
        place.checked = self._plane.poller.now
        place.epoch = self._epoch
        places = self._places
        before = places.pop(key, None)
        if before is not None:
            self._kept -= before.kept_bytes
        if len(key) > KEPT_KEY_BYTES:
            return
        places[key] = place
        self._kept += place.kept_bytes
        while self._kept > KEPT_BYTES or len(places) > KEPT_PLACES:
            oldest = next(iter(places))
            self._kept -= places.pop(oldest).kept_bytes

    def _fail(self, exchange: Entering, error: OSError) -> None:
        """The disk or the file system failed, or takes too long."""
        why = error.strerror or str(error)
        self._complain(exchange.head.path, why)
        refuse(self._plane, exchange, 503, error=f"the file cannot be read: {why}", side=Side.INTERNAL)

    def _complain(self, path: bytes, why: str) -> None:
        now = self._plane.poller.now
        if now - self._complained >= COMPLAINTS:
            self._complained = now
            self._plane.log.warning("files.unreadable", pool=self._pool, path=os.fsdecode(path), error=why)
