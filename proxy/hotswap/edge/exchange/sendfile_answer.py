"""Answers a file that a backend named in place of a response of its own (X-Accel-Redirect, X-Sendfile).

The backend has nothing more to do then: its claim and its connection are released before the file is opened, so that a
slow download holds neither a thread of it nor a drain. What the app said of the file goes on to the client: its type,
its name, how long it may be kept, cookies, and validators if it gave some. Conditions and ranges are the file's.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final, Protocol

from hotswap.core.errors import Side
from hotswap.core.files.conditions import NOTHING_ASKED, asked_of
from hotswap.core.http.exchange_view import shorten
from hotswap.core.http.sendfile import NamedPlace, SendfileRefusal, SendfileRoots, place_of_path, place_of_uri
from hotswap.edge.files.disk_call import DiskCall, FilesPlane
from hotswap.edge.files.file_answer import answer_file, refuse
from hotswap.edge.files.named_file import NamedFile
from hotswap.edge.files.root import Root
from hotswap.edge.files.stored_file import read_small
from hotswap.edge.rules.rule_step import Entering

if TYPE_CHECKING:
    from hotswap.core.http.messages import Field, ResponseHead
    from hotswap.core.pool.candidate import Candidate
    from hotswap.edge.files.open_file import OpenFile

TOLD: Final = 1.0
"""Seconds between two lines of the log about files of one pool that cannot be answered."""

_URI: Final = b"x-accel-redirect"
_NAMES: Final = (_URI, b"x-sendfile")
_ABSENT: Final = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ENXIO))
_WORDS: Final = {errno.ELOOP: "a symbolic link is in the way", errno.EXDEV: "it leads out of the directory"}


class Teller(Protocol):
    """The gate of a pool; `file_told_at` is when the log was last told of a file that cannot be answered."""

    file_told_at: float


class FileNaming(Entering, Protocol):
    """An exchange whose backend has answered; see `hotswap.edge.exchange.exchange.Exchange`.

    Attributes:
        plane: the data plane.
        gate: of its pool.
        backend: it.
    """

    @property
    def plane(self) -> FilesPlane:
        """The data plane."""

    @property
    def gate(self) -> Teller | None:
        """The gate of its pool."""

    @property
    def backend(self) -> Candidate | None:
        """Who answered."""

    def part_with_backend(self, head: ResponseHead, *, whole: bool) -> None:
        """Release the claim and the connection: what else the backend says is not wanted."""


def answer_named_file(exchange: FileNaming, head: ResponseHead, *, whole: bool) -> bool:
    """Answer the file that a response names, if it names one.

    Args:
        exchange: the exchange.
        head: of the response, with `file_fields`.
        whole: nothing of the response follows.

    Returns:
        Whether the response is not to be passed on; else it goes on without these fields.
    """
    fields, backend = head.file_fields, exchange.backend
    assert fields is not None
    assert backend is not None
    if not backend.sendfile and exchange.peer.trusted:
        # What answers files is the proxy in front of this one.
        head.lines += [b"%b: %b\r\n" % field for field in fields]
        return False
    field = _field_of(fields)
    if field is None or head.status not in (200, 206):
        return False
    exchange.part_with_backend(head, whole=whole)
    SendfileAnswer(exchange, head, field, backend.sendfile).begin()
    return True


def _field_of(fields: list[Field]) -> Field | None:
    """The field that names the file: the first of the one kind, or else of the other."""
    return next(((name, value) for one in _NAMES for name, value in fields if name == one and value), None)


class SendfileAnswer:
    """One such answer, from what the backend said to the file.

    Args:
        exchange: the exchange; no backend has a part in it any more.
        head: what the backend said.
        field: by which it named the file.
        roots: where files may be.
    """

    __slots__ = ("_exchange", "_field", "_head", "_roots")

    def __init__(self, exchange: FileNaming, head: ResponseHead, field: Field, roots: SendfileRoots) -> None:
        self._exchange = exchange
        self._head = head
        self._field = field
        self._roots = roots

    def begin(self) -> None:
        """Find the file out of memory, or have a job look for it on the disk."""
        try:
            self._deliver(self._find(cached=True))
        except BlockingIOError:
            DiskCall(self._exchange.plane, self._exchange, self._find_on_disk, self._deliver, self._fail)
        except OSError as error:
            self._fail(error)

    def _find_on_disk(self) -> SendfileRefusal | tuple[OpenFile, NamedFile]:
        return self._find(cached=False)

    def _find(self, *, cached: bool) -> SendfileRefusal | tuple[OpenFile, NamedFile]:
        """Open the file.

        Raises:
            BlockingIOError: `cached`, and it cannot be told out of memory alone.
            OSError: it cannot be opened.
        """
        name, value = self._field
        if name == _URI:
            place = place_of_uri(value, self._roots)
        else:
            place = place_of_path(value, self._roots)
            if place is SendfileRefusal.OUTSIDE and self._roots:
                if cached:
                    raise BlockingIOError(errno.EAGAIN, "where links lead is to be looked up")
                # Apps resolve links as readily as not.
                place = place_of_path(value, tuple((one, os.path.realpath(path)) for one, path in self._roots))
        if not isinstance(place, NamedPlace):
            return place
        return _open(place, self._head, cached=cached)

    def _deliver(self, found: SendfileRefusal | tuple[OpenFile, NamedFile]) -> None:
        exchange = self._exchange
        if isinstance(found, SendfileRefusal):
            self._refuse(502, found.value)
            return
        file, named = found
        asked = NOTHING_ASKED
        if exchange.head.method in (b"GET", b"HEAD"):
            asked = asked_of(exchange.head)
        answer_file(exchange.plane, exchange, named, asked, None if named.body is not None else file)

    def _fail(self, error: OSError) -> None:
        if isinstance(error, TimeoutError) or error.errno in (errno.EBUSY, errno.EIO, errno.EMFILE, errno.ENFILE):
            self._refuse(503, error.strerror or str(error))
        elif isinstance(error, IsADirectoryError):
            self._refuse(502, SendfileRefusal.DIRECTORY.value)
        else:
            why = _WORDS.get(error.errno or 0, error.strerror or str(error))
            self._refuse(404 if error.errno in _ABSENT else 502, why)

    def _refuse(self, status: int, why: str) -> None:
        """Answer with an error, and say in the log what the backend asked for."""
        exchange = self._exchange
        name, value = self._field
        gate, now = exchange.gate, exchange.plane.poller.now
        shown = shorten(value.decode("utf-8", "backslashreplace"))
        words = "X-Accel-Redirect" if name == _URI else "X-Sendfile"
        if gate is not None and now - gate.file_told_at >= TOLD:
            gate.file_told_at = now
            exchange.plane.log.warning(
                "sendfile.refused", pool=exchange.pool_name, field=words, value=shown, status=status, detail=why
            )
        refuse(exchange.plane, exchange, status, error=f"{words}: {why}", side=Side.UPSTREAM)


def _open(place: NamedPlace, head: ResponseHead, *, cached: bool) -> tuple[OpenFile, NamedFile]:
    try:
        root = Root.at(place.directory, cached=cached)
    except BlockingIOError:
        raise
    except OSError as error:
        raise PermissionError(errno.EPERM, f"{place.directory}: {error.strerror}") from None
    file = root.open(place.path, cached=cached)
    return file, NamedFile(file, place.path, read_small(file, cached=cached), head)
