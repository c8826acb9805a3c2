"""Answers in JSON hold whatever the machine has for names."""

from __future__ import annotations

import json
import os

from hotswap.control.admin.messages import parse_request, write_json
from hotswap.control.admin.problems import problem


def test_a_path_that_is_not_utf8_keeps_nobody_from_the_rest() -> None:
    """Found: the whole status was a 500, because the configuration lay in such a directory."""
    path = os.fsdecode(b"/srv/\xff shop/caf\xc3\xa9")
    body = write_json({"config": path, "pid": 1})
    assert "café".encode() in body
    assert os.fsencode(json.loads(body)["config"]) == b"/srv/\xff shop/caf\xc3\xa9"
    told = problem(500, "x", path).body
    assert isinstance(told, bytes)
    assert json.loads(told)["detail"]


def test_a_segment_is_decoded_by_itself() -> None:
    """An encoded slash ends none, and bytes that are not UTF-8 are no error."""
    request = parse_request(
        b"GET", b"/v1/pools/a%2Fb%ff?after=1&after=2&empty", [(b"x", b"1"), (b"x", b"2")], address=None
    )
    assert request.segments == ("v1", "pools", "a/b\ufffd")
    assert request.query == {"after": "2", "empty": ""}
    assert request.fields == {"x": "1, 2"}
