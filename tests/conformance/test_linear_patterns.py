"""No regular expression of the program takes more than linear time, whatever it is given.

Each is given texts that almost match: one that it matches, made longer at each place in turn with each of the letters
that it is about, and spoilt at the end. Where two repeats may share letters that is quadratic, or worse, and shows at
once: the difference to linear work is a hundredfold, so that one measurement is enough.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import faulty
import hotswap
import hotswap_backends

CALLS = {"match", "fullmatch", "search", "sub", "split", "findall", "finditer"}
TIMES = 4000
"""How often a letter stands where a text is made longer: linear work on it takes less than half a millisecond."""
SECONDS = 0.02
VARIANTS = 4
"""Of alternatives, so many are tried."""
SPOILT = ("", "\x01", "\x01\r\n")


def module_names() -> Iterator[str]:
    """All modules of the program, but those that run when they are imported, and the demo."""
    for package in (hotswap, hotswap_backends, faulty):
        for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if not found.name.endswith("__main__"):
                yield found.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """A pattern, and how a module asks it."""

    pattern: re.Pattern[Any]
    call: str


def uses_in(name: str) -> Iterator[Used]:
    """What a module asks the patterns that it keeps, and those that it spells where it uses them."""
    module = importlib.import_module(name)
    assert module.__file__ is not None
    for node in ast.walk(ast.parse(Path(module.__file__).read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Attribute) or node.attr not in CALLS or not isinstance(node.value, ast.Name):
            continue
        kept = getattr(module, node.value.id, None)
        if isinstance(kept, re.Pattern):
            yield Used(pattern=kept, call=node.attr)
    for node in ast.walk(ast.parse(Path(module.__file__).read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CALLS):
            continue
        if isinstance(node.func.value, ast.Name) and node.func.value.id == "re":
            match node.args[0]:
                case ast.Constant(value=text):
                    yield Used(pattern=re.compile(text), call=node.func.attr)
                case ast.Name(id=key) if isinstance(text := getattr(module, key, None), str | bytes):
                    yield Used(pattern=re.compile(text), call=node.func.attr)


def example(tokens: Any, variant: int) -> str:
    """A text that a parsed pattern matches, its repeats as short as may be but not empty."""
    text = ""
    for operation, value in tokens:
        match str(operation):
            case "LITERAL":
                text += chr(value)
            case "NOT_LITERAL":
                text += "a" if value != ord("a") else "b"
            case "ANY":
                text += "a"
            case "IN":
                text += member(value)
            case "BRANCH":
                text += example(value[1][variant % len(value[1])], variant)
            case "SUBPATTERN":
                text += example(value[-1], variant)
            case "ATOMIC_GROUP":
                text += example(value, variant)
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                text += example(value[2], variant) * max(1, value[0])
            case "AT" | "ASSERT" | "ASSERT_NOT" | "GROUPREF":
                pass
            case other:
                raise AssertionError(f"{other} is new here")
    return text


def member(members: Any) -> str:
    """A letter of a set."""
    operation, value = members[0]
    match str(operation):
        case "LITERAL":
            return chr(value)
        case "RANGE":
            return chr(value[0])
        case "CATEGORY":
            return next(letter for letter in "a0 -" if re.match(CATEGORIES[str(value)], letter))
        case _:  # a set of what is not in it
            return next(letter for letter in "a0 -\x01" if all(chr_of(found) != letter for found in members[1:]))


CATEGORIES = {
    "CATEGORY_DIGIT": r"\d",
    "CATEGORY_SPACE": r"\s",
    "CATEGORY_WORD": r"\w",
    "CATEGORY_NOT_DIGIT": r"\D",
    "CATEGORY_NOT_SPACE": r"\S",
    "CATEGORY_NOT_WORD": r"\W",
}


def chr_of(found: Any) -> str:
    """The letter of a member that is one."""
    return chr(found[1]) if str(found[0]) == "LITERAL" else ""


def hostile_texts(pattern: re.Pattern[Any]) -> Iterator[str]:
    """Texts that almost match."""
    parsed = re._parser.parse(pattern.pattern, pattern.flags & ~re.UNICODE)  # type: ignore[attr-defined]
    for text in {example(parsed, variant) for variant in range(VARIANTS)}:
        for letter in sorted({*text, " ", "a", "0"}):
            for place in range(min(len(text), 60) + 1):
                for end in (*SPOILT, *(text[place:] + end for end in SPOILT)):
                    yield text[:place] + letter * TIMES + end
        for end in SPOILT:
            yield text * (TIMES // max(1, len(text))) + end


@pytest.mark.fail_after(60)
def test_patterns_take_linear_time() -> None:
    """In the way in which each is asked: for all of a text, for its beginning, or for a place in it."""
    uses = {use for name in module_names() for use in uses_in(name)}
    assert len(uses) > 40  # those of the readers of messages are among them
    assert any(b"HTTP/1" in use.pattern.pattern for use in uses if isinstance(use.pattern.pattern, bytes))
    slow = {use.pattern.pattern: found for use in uses if (found := slowest(use))}
    assert slow == {}


def slowest(use: Used) -> str:
    """A text that takes a pattern too long, if there is one."""
    ask = getattr(use.pattern, "findall" if use.call in ("sub", "split", "finditer") else use.call)
    for text in hostile_texts(use.pattern):
        data: Any = text.encode("latin-1") if isinstance(use.pattern.pattern, bytes) else text
        seconds = measure(ask, data)
        if seconds > SECONDS:
            seconds = min(seconds, measure(ask, data), measure(ask, data))
        if seconds > SECONDS:
            return f"{seconds * 1000:.0f} ms to {use.call} {text[:40]!r}... of {len(text)}"
    return ""


def measure(ask: Any, data: Any) -> float:
    """Processor time of one question."""
    begin = time.thread_time()
    ask(data)
    return time.thread_time() - begin
