"""Answers a request with a file: conditions, ranges and HEAD, out of memory or from the open file."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from hotswap.core.errors import Side
from hotswap.core.files.conditions import NOTHING_ASKED, FileRequest, Verdict, judge, part_of
from hotswap.core.http.forwarding import REASONS
from hotswap.core.http.messages import ResponseHead
from hotswap.edge.files.file_carrier import FileCarrier

if TYPE_CHECKING:
    from hotswap.core.http.messages import Field
    from hotswap.edge.files.disk_call import FilesPlane
    from hotswap.edge.files.open_file import OpenFile
    from hotswap.edge.files.stored_file import StoredFile
    from hotswap.edge.rules.rule_step import Entering


def answer_file(
    plane: FilesPlane, exchange: Entering, stored: StoredFile, asked: FileRequest, file: OpenFile | None
) -> None:
    """Answer a GET or HEAD; the answer is counted.

    Args:
        plane: the data plane.
        exchange: the request.
        stored: what is known of the file.
        asked: the fields of the request that choose among its answers.
        file: itself, open, where its content is not kept; taken over.
    """
    verdict, begin, end = Verdict.WHOLE, 0, stored.size
    if asked is not NOTHING_ASKED:
        verdict = judge(asked, etag=stored.etag, modified=stored.modified, modified_text=stored.modified_text)
        if verdict is Verdict.WHOLE and asked.range and exchange.head.method == b"GET":
            verdict, begin, end = part_of(asked, size=stored.size, etag=stored.etag, modified_text=stored.modified_text)
    response = ResponseHead()
    match verdict:
        case Verdict.WHOLE:
            response.status = 200
            response.lines = list(stored.lines)
            response.content_length = end
        case Verdict.PART:
            response.status = 206
            response.lines = [*stored.lines, b"Content-Range: bytes %d-%d/%d\r\n" % (begin, end - 1, stored.size)]
            response.content_length = end - begin
        case Verdict.UNCHANGED:
            response.status = 304
            response.lines = list(stored.unchanged_lines)
            end = 0
        case Verdict.FAILED:
            refuse(plane, exchange, 412, error="a precondition of the request does not hold")
            return
        case Verdict.OUTSIDE:
            refuse(
                plane,
                exchange,
                416,
                error="the range lies outside of the file",
                fields=((b"Content-Range", b"bytes */%d" % stored.size),),
            )
            return
        case _:
            assert_never(verdict)
    status = response.status
    response.reason = REASONS[status]
    plane.tally.static_responses[exchange.listener.name, status] += 1
    body = stored.body
    if status == 304 or exchange.head.method == b"HEAD":
        response.complete = True
        exchange.on_response(response)
    elif body is not None:
        response.complete = True
        response.body = body if status == 200 else body[begin:end]
        exchange.on_response(response)
    else:
        assert file is not None
        exchange.answer_from(FileCarrier(plane, exchange, file, begin, end, response))


def refuse(
    plane: FilesPlane,
    exchange: Entering,
    status: int,
    *,
    error: str = "",
    fields: tuple[Field, ...] = (),
    side: Side | None = Side.DOWNSTREAM,
) -> None:
    """Answer otherwise than with a file, and count it; see `Entering.answer`."""
    plane.tally.static_responses[exchange.listener.name, status] += 1
    exchange.answer(status, side=side if error else None, error=error, fields=fields)
