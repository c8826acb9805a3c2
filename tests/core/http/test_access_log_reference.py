"""The reference of the access log names what a line has."""

from __future__ import annotations

import json
import re
from pathlib import Path

from hotswap.core.http.access_log import json_line

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "access-log.md"


def test_every_member_of_a_line_is_on_the_page_and_no_other():
    """In the order in which they are written."""
    line = json_line(b"2026-11-25T13:42:03Z", "public", b"192.0.2.1", b"GET", b"a", b"/", 11, 200, 0, 0, 0.0)
    rows = re.findall(r"^\| ((?:`\w+` ?)+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert [name for row in rows for name in re.findall(r"`(\w+)`", row)] == list(json.loads(line))
