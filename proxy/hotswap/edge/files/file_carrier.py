"""Sends a part of an open file as the response of an exchange: in the kernel where the client's connection allows it.

It never waits for a disk in the loop. Of each piece it is asked first whether it is in memory (preadv2 with
RWF_NOWAIT); where it is not, or the file system cannot tell, a job reads ahead, and the loop goes on with what is in
memory then. What the client does not take is not read: a file of any size costs one piece.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Final

from hotswap.core.errors import Side
from hotswap.edge.files.disk_call import DISK_SECONDS, FilesPlane, check_disk_queue, disk_limiter
from hotswap.edge.loop.timers import NEVER

if TYPE_CHECKING:
    from hotswap.core.errors import ConnectFailed, UpstreamBroken, UpstreamTimedOut
    from hotswap.core.http.messages import RequestHead, ResponseHead
    from hotswap.edge.files.open_file import OpenFile
    from hotswap.edge.loop.stream import Data, Stream
    from hotswap.edge.rules.rule_step import Entering
    from hotswap.edge.upstream.carrier import Carried
    from hotswap.edge.upstream.replay import Replay

FIRST_BYTES: Final = 64 * 1024
"""Bytes that go out with the head in one call."""
PIECE_BYTES: Final = 1024 * 1024
"""Bytes that are asked to be sent at once in the kernel."""
PIECES_AT_A_TIME: Final = 4
"""Pieces of one file before others have their turn."""
PROBE_BYTES: Final = 256 * 1024
"""Distance of the bytes that are asked for to see whether a piece is in memory: twice what the kernel reads ahead.

What was dropped in between is read while it is sent, which may take the loop one access to the disk."""
AHEAD_BYTES: Final = 1024 * 1024
"""Bytes that a job reads ahead."""


class FileCarrier:
    """The file's side of one exchange; `Carrier` says what each is to do.

    Args:
        plane: the data plane.
        entering: the exchange, which is told when the file fails.
        file: taken over, and closed at the end.
        begin: first byte that is sent.
        end: the one behind the last; there is at least one.
        head: of the response, with its length.
    """

    __slots__ = (
        "_begun",
        "_end",
        "_entering",
        "_file",
        "_head",
        "_place",
        "_plane",
        "_stream",
        "_warm",
        "_working",
        "armed",
        "deadline",
        "exchange",
        "paused",
    )

    fresh = True
    received = False
    connecting = False
    backed_up = False

    def __init__(
        self, plane: FilesPlane, entering: Entering, file: OpenFile, begin: int, end: int, head: ResponseHead
    ) -> None:
        self._plane = plane
        self._entering: Entering | None = entering
        self._file: OpenFile | None = file
        self._place = begin
        self._end = end
        self._head = head
        self._warm = begin  # all before it is known to be in memory
        self._working = False
        self._begun = False
        self._stream: Stream | None = None  # the client's, if it takes what moves in the kernel
        self.exchange: Carried | None = None
        self.paused = False
        self.deadline, self.armed = math.inf, NEVER

    def carry(self, exchange: Carried, head: RequestHead) -> None:
        self.exchange = exchange
        exchange.on_response_head(self._head)
        self.pump()

    def pump(self) -> None:
        for _ in range(PIECES_AT_A_TIME):
            exchange, file = self.exchange, self._file
            if exchange is None or file is None or self.paused or self._working:
                return
            if exchange.responder.shut_out:
                self.paused = True
                return
            stream = self._stream
            if stream is not None and stream.unsent:
                self.paused = True
                return
            try:
                got = self._pass_on(exchange, file)
            except BlockingIOError:
                self._read_ahead(file)
                return
            except OSError as error:
                self._give_up(f"the file cannot be read: {error.strerror}")
                return
            if self.exchange is not exchange:
                return  # the client has gone
            if not got:
                self._give_up("the file was cut short while it was sent")
                return
            self._place += got
            if self._place >= self._end:
                exchange.on_response_end()
                return
            if exchange.downstream_backed_up:
                self.paused = True
                return
            if exchange.responder.in_turns:
                break
        self._plane.poller.soon(self, self.pump)

    def _pass_on(self, exchange: Carried, file: OpenFile) -> int:
        """Send a piece; gives its length, 0 at the end of the file.

        Raises:
            BlockingIOError: it is not in memory.
            OSError: it cannot be read.
        """
        left = self._end - self._place
        target = exchange.responder.splice_target() if self._begun else None
        if target is not None:
            self._stream = target
            count = min(left, PIECE_BYTES)
            self._see_warm(file, count)
            got = target.send_file(file.fd, self._place, count)
            exchange.on_response_moved(got)
            if target.broken:
                exchange.flush()
            return got
        buffer = self._plane.buffer
        most = FIRST_BYTES if not self._begun or exchange.responder.in_turns else len(buffer)
        room = buffer[: min(left, most)]
        got = self._read(file, room)
        if got:
            self._begun = True
            exchange.on_response_body(room[:got])
            exchange.flush()
        return got

    def _read(self, file: OpenFile, room: memoryview) -> int:
        if self._place + len(room) <= self._warm:
            return os.preadv(file.fd, [room], self._place)
        try:
            return os.preadv(file.fd, [room], self._place, os.RWF_NOWAIT)
        except BlockingIOError:
            raise
        except OSError as error:
            raise BlockingIOError(*error.args) from None  # the job will see what it is

    def _see_warm(self, file: OpenFile, count: int) -> None:
        """See that a piece is in memory, by a byte of each part that the kernel reads at once."""
        end = self._place + count
        if end <= self._warm:
            return
        byte = self._plane.buffer[:1]
        try:
            for place in (*range(self._place, end, PROBE_BYTES), end - 1):
                os.preadv(file.fd, [byte], place, os.RWF_NOWAIT)
        except BlockingIOError:
            raise
        except OSError as error:
            raise BlockingIOError(*error.args) from None
        self._warm = end

    def _read_ahead(self, file: OpenFile) -> None:
        """Have a job bring what comes next into memory; what is buffered goes out meanwhile."""
        try:
            check_disk_queue()
        except OSError as error:
            self._give_up(str(error.strerror))
            return
        begin, end = self._place, min(self._end, self._place + AHEAD_BYTES)

        def work() -> int:
            return _read_through(file, begin, end)

        self._working = True
        poller = self._plane.poller
        poller.timers.set(self, poller.now + DISK_SECONDS)
        self._plane.jobs.begin(self, work, self._on_read, self._on_failed, limiter=disk_limiter)

    def _on_read(self, warm: int) -> None:
        if self._settle():
            if warm <= self._place:
                self._give_up("the file was cut short while it was sent")
            else:
                self._warm = warm
                self.pump()

    def _on_failed(self, error: OSError) -> None:
        if self._settle():
            self._give_up(f"the file cannot be read: {error.strerror}")

    def _settle(self) -> bool:
        """The job is done; whether anybody still waits for it."""
        self._working = False
        if self.exchange is None:
            return False
        self._plane.poller.timers.set(self, math.inf)
        return True

    def on_deadline(self) -> None:
        """The disk took too long."""
        if self._working and self.exchange is not None:
            self._give_up("the disk takes too long")

    def _give_up(self, why: str) -> None:
        """Break the response off, visibly."""
        if self._entering is not None:
            self._entering.answer(500, side=Side.INTERNAL, error=why)

    def release(self, *, reusable: bool) -> None:
        self.exchange = None
        self.close()

    def close(self) -> None:
        self.exchange = self._entering = None
        if self.armed is not NEVER:
            self._plane.poller.timers.forget(self)
        file = self._file
        if file is not None and not self._working:  # else the job has it, and closes it by letting go
            file.close()
        self._file = None

    def fail(self, error: UpstreamBroken | ConnectFailed | UpstreamTimedOut) -> None:
        self._give_up(str(error))

    def on_crash(self, error: Exception) -> None:
        """Contain a defect of ours to this exchange."""
        exchange = self.exchange
        if exchange is None:
            self._plane.on_crash(error, "file")
            self.close()
        else:
            exchange.on_crash(error)

    # A file has no request to take.

    def send_request(self, exchange: Carried, request_id: bytes, replay: Replay | None) -> int:
        return 0

    def send_body(self, data: Data) -> None:
        pass

    def send_end(self) -> None:
        pass

    def await_backend(self, seconds: float) -> None:
        pass


def _read_through(file: OpenFile, begin: int, end: int) -> int:
    """Read a part of a file so that it is in memory then; gives the end of what there is."""
    buffer = bytearray(min(PROBE_BYTES, end - begin))
    while begin < end:
        got = os.preadv(file.fd, [buffer], begin)
        if not got:
            break
        begin += got
    return min(begin, end)
