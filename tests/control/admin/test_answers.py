"""Answers in JSON hold whatever the machine has for names."""

from __future__ import annotations

import json
import os

from proxy.control.admin.answers import JsonResponse
from proxy.control.admin.problems import ProblemResponse


def test_a_path_that_is_not_utf8_keeps_nobody_from_the_rest() -> None:
    """Found: the whole status was a 500, because the configuration lay in such a directory."""
    path = os.fsdecode(b"/srv/\xff shop/caf\xc3\xa9")
    body = bytes(JsonResponse({"config": path, "pid": 1}).body)
    assert "café".encode() in body
    assert os.fsencode(json.loads(body)["config"]) == b"/srv/\xff shop/caf\xc3\xa9"
    assert json.loads(bytes(ProblemResponse(500, "x", path).body))["detail"]
