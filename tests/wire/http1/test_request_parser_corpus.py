"""The corpus against the request parser alone: each case whole, byte by byte, and with a request behind it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.wire.feeding import Message, cut, read_requests
from tests.wire.payloads import accepted, framing, request_line
from tests.wire.payloads.case import SMUGGLED, Forwarded, Refused

REFUSED = tuple(case for case in (*framing.CASES, *request_line.CASES) if not case.by_route)

Feeding = Callable[[bytes], list[bytes]]


def whole(raw: bytes) -> list[bytes]:
    """In one piece."""
    return [raw]


def trailed(raw: bytes) -> list[bytes]:
    """With another request in the same piece."""
    return [raw + SMUGGLED]


def trailed_bytewise(raw: bytes) -> list[bytes]:
    """Byte by byte, with another request behind."""
    return cut(raw + SMUGGLED)


FEEDINGS = [whole, cut, trailed, trailed_bytewise]


@pytest.mark.parametrize("feeding", FEEDINGS, ids=lambda feeding: feeding.__name__)
@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.row)
def test_hostile_bytes_are_refused(case: Refused, feeding: Feeding) -> None:
    """The status is that of the list, nothing is taken for a request, and a bad body never ends."""
    reading = read_requests(feeding(case.raw))
    assert reading.error is not None
    assert reading.error.status in case.statuses
    if case.in_body:
        assert len(reading.messages) == 1
        assert not reading.messages[0].complete
    else:
        assert reading.messages == []


@pytest.mark.parametrize("feeding", [whole, cut], ids=lambda feeding: feeding.__name__)
@pytest.mark.parametrize("case", accepted.CASES, ids=lambda case: case.row)
def test_good_requests_are_read(case: Forwarded, feeding: Feeding) -> None:
    """Method, target, host, end-to-end fields and body are those of the case."""
    reading = read_requests(feeding(case.raw))
    if reading.error is not None and reading.error.status in case.or_refused:
        return
    assert reading.error is None
    assert len(reading.messages) == 1
    assert_as_told(case, reading.messages[0])


@pytest.mark.parametrize("feeding", [trailed, trailed_bytewise], ids=lambda feeding: feeding.__name__)
@pytest.mark.parametrize("case", accepted.CASES, ids=lambda case: case.row)
def test_a_request_behind_a_good_one_is_its_own(case: Forwarded, feeding: Feeding) -> None:
    """Pipelined bytes never become part of the body before them, nor the other way round."""
    reading = read_requests(feeding(case.raw))
    if reading.error is not None and reading.error.status in case.or_refused:
        return
    if case.closes:
        assert_as_told(case, reading.messages[0])  # what is behind the last request of a connection is not served
        return
    assert reading.error is None
    first, second = reading.messages
    assert_as_told(case, first)
    assert second.head.target == b"/smuggled"
    assert second.complete
    assert second.body == b""


def assert_as_told(case: Forwarded, message: Message) -> None:
    """Compare a message with its case, as far as a head that is not written yet can be compared."""
    head = message.head
    assert message.complete
    assert (head.method, head.target, head.host) == (case.method, case.target, case.host)
    assert message.body == case.body
    names = [name.lower() for name, _ in head.fields]
    assert not set(names) & set(case.absent)
    known = set(names)
    told = [(name, value) for name, value in case.fields if name in known]
    assert [field for field in ((name.lower(), value) for name, value in head.fields) if field in told] == told
