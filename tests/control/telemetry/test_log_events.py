"""The reference of the log names what the log says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "reference" / "log-events.md"
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
PUBLISHING = {"publish", "_publish"}
NAME = re.compile(r"[a-z_]+(\.[a-z_]+)+")


def names_in_calls() -> Iterator[tuple[str, str]]:
    """Give every literal name that is logged or published, with the file it is in."""
    for path in sorted((ROOT / "proxy").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(attr=method), args=[ast.Constant(value=str(name)), *_]):
                    if method in LEVELS | PUBLISHING and NAME.fullmatch(name):
                        yield name, str(path.relative_to(ROOT))


def test_every_name_in_the_code_is_on_the_page() -> None:
    """Whoever adds an event says what it means."""
    page = set(re.findall(r"`([a-z_.]+)`", PAGE.read_text(encoding="utf-8")))
    missing = sorted(f"{name} ({path})" for name, path in set(names_in_calls()) if name not in page)
    assert missing == []


def test_every_name_on_the_page_is_in_the_code() -> None:
    """What is gone from the code goes from the page; names that are put together are known by their first word."""
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "proxy").rglob("*.py"))
    composed = re.compile(r"(backend|rollout|access_log|log)\.[a-z_]+")
    page = [name for name in re.findall(r"`([a-z_.]+)`", PAGE.read_text(encoding="utf-8")) if NAME.fullmatch(name)]
    gone = [
        name
        for name in page
        if f'"{name}"' not in code and f"event: {name}" not in code and not composed.fullmatch(name)
    ]
    assert gone == []
