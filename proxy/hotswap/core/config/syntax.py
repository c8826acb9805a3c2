"""Problems of a text that is no TOML: the line, what stands in it, and what was meant."""

from __future__ import annotations

import re

from hotswap.core.config.key_lines import KeyLines
from hotswap.core.errors import MISSING, Problem, Verbatim, written

_WAYS_OUT = {
    "illegal character '\\n'": "a string ends with a quote on the line it begins on",
    "cannot overwrite a value": "a key is set once, and this one is set already",
    "cannot mutate": "a table in braces or a list in brackets is whole, and no later line adds to it",
    "cannot declare": "a table is opened once, and this one is open already",
    "cannot redefine": "a table is opened once, and this one is open already",
    "unescaped '\\\\'": "a backslash in double quotes stands for a sign; write the string in single quotes, '…'",
    "invalid hex value": "a backslash in double quotes stands for a sign; write the string in single quotes, '…'",
    'expected "\'"': "a string ends with a quote on the line it begins on",
    "invalid statement": "a line is key = value, [table], or a comment, which begins with #",
    "invalid initial character": "a table in braces stands on one line, and no comma before its }; "
    "over several lines it is a [table]",
    "invalid value": "a string stands in quotes, and true and false are written small",
    "expected '=' after a key": "a key and its value are written key = value",
    "expected newline or end": "a line has one key with its value, and a comment begins with #",
    "unclosed array": "a list ends with ]",
    "unclosed inline table": "a table in braces ends with }, on the line it begins on, without a comma before it",
    "expected ']'": "the name of a table stands in brackets, [name], or [[name]] for an entry of a list",
}
"""What the messages of tomllib mean for a file, by their beginning."""

_WORD = r"[A-Za-z_][A-Za-z0-9_-]*"
_PAIR = rf"({_WORD})[ \t]*[=:][ \t]*(\S.*)?"
_PLAIN = r"([A-Za-z_/.~*]|:\d|\d[\d.]*[.:]\d)[^\s\"'#\[\]{},=]*"
"""Compiled when they are needed, which is not at the start."""


def syntax_problem(text: str, origin: str, message: str) -> Problem:
    """Point at the line that is not TOML; tomllib says where in its message only.

    Args:
        text: what is no TOML.
        origin: path of the file.
        message: what tomllib says about it.
    """
    lines = text.split("\n")
    where = re.search(r"\(at line (\d+), column \d+\)", message)
    number = int(where[1]) if where is not None else max(1, len(text.rstrip("\n").split("\n")))
    line = lines[number - 1].strip() if number <= len(lines) else ""
    said = message.partition(" (at ")[0]
    said = f"{said[:1].lower()}{said[1:]}"
    way_out = next((advice for start, advice in _WAYS_OUT.items() if said.startswith(start)), said)
    if said.startswith(("cannot overwrite", "cannot declare", "cannot redefine")):
        way_out += _first_time(lines, number)
    elif "recursion" in said:
        way_out = "its tables and lists are too deep"
    elif where is None and said.startswith(("invalid value", "unclosed", "expected")):
        way_out = "the file ends inside a value: a list ends with ], a table in braces with }, a string with its quote"
    elif meant := _line_meant(line):
        way_out = f"write {meant}"
    return Problem("line", Verbatim(line[:80]) if line else MISSING, f"TOML; {way_out}", origin, number)


def _first_time(lines: list[str], number: int) -> str:
    """Say where a key or table stood for the first time, and what can be done."""
    before = KeyLines("\n".join(lines[: number - 1]))
    location = KeyLines("\n".join(lines[:number])).last
    if not before.has(location):
        return ""
    return f", in line {before.of(location)}: remove one of the two"


def _line_meant(line: str) -> str:
    """Give what a line with one key was meant to be, or nothing when it cannot be told."""
    if line.startswith("//"):
        return f"#{line[2:]}"
    pair = re.fullmatch(_PAIR, line)
    if pair is None:
        return ""
    key, value = pair[1], (pair[2] or "").strip().rstrip(";,").strip()
    if value.lower() in ("true", "yes", "on"):
        return f"{key} = true"
    if value.lower() in ("false", "no", "off"):
        return f"{key} = false"
    if re.fullmatch(r"\d+[A-Za-z]+", value) or re.fullmatch(_PLAIN, value):
        return f"{key} = {written(value)}"
    items = [item.strip() for item in value[1:-1].split(",")] if re.fullmatch(r"\[[^\[\]]*\]", value) else []
    if items and all(re.fullmatch(_PLAIN, item) for item in items):
        return f"{key} = [{', '.join(map(written, items))}]"
    if re.fullmatch(r'"[^"]*\\[^"]*"', value) and "'" not in value:
        return f"{key} = '{value[1:-1]}'"
    if re.fullmatch(r'"[^"\\]*"|\'[^\']*\'|\d+', value) and not re.match(rf"{_WORD}[ \t]*=", line):
        return f"{key} = {value}"
    if re.fullmatch(r'"[^"\\]*"|\'[^\']*\'', value) and (pair[2] or "").strip().endswith((";", ",")):
        return f"{key} = {value}"
    return ""
