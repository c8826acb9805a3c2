"""Findings of validation, while a file is still being checked: place, value, and what would be right.

This module also turns what pydantic reports into findings in our words, with a way out where one can be
guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from pydantic_core import ErrorDetails

from hotswap.core.address import parse_address
from hotswap.core.config.fields import NAME_ALLOWED, NAME_PATTERN
from hotswap.core.config.key_lines import KeyLines, Location
from hotswap.core.config.spelling import did_you_mean
from hotswap.core.config.unknown_keys import describe_key, find_misnamed, keys_of, unknown_key
from hotswap.core.errors import MISSING, Problem, Verbatim, written
from hotswap.core.strategy import Strategy

_KEY = "[key]"
_SECRET = r"password|passwd|secret|token$|api_?key|private_?key"
"""Keys whose values are not shown, in small letters; compiled when it is needed, which is not at the start."""

_TABLES = {
    "health": 'write { path = "/healthz" }',
    "environment": 'write { NAME = "value" }',
    "compatibility": 'write { file = "RESTART_EPOCH" }, a file of the release whose first line is the number',
    "storage": "write { shared = true }",
    "recycle": "write { requests = 1000 }, or age or memory",
    "tls": 'write { self_signed = ["localhost"] } for a development certificate, '
    'or { certificates = [{ cert = "FILE", key = "FILE" }] }',
    "redirect": "write {} for a redirect to https",
}
"""What stands in a table that was given as something else."""

_NAMES = {"listeners": "public", "pools": "web"}
"""Names of tables, as examples."""

_EXAMPLES = {
    "bind": 'bind = ["127.0.0.1:8000"]',
    "addresses": 'addresses = ["127.0.0.1:9000"]',
    "server": 'server = "uvicorn", or addresses = ["127.0.0.1:9000"] where something else runs the backends',
    "pool": 'pool = "NAME"',
    "cert": 'cert = "FILE"',
    "key": 'key = "FILE"',
}
"""Keys that have to be given, as an example."""


class Finding(NamedTuple):
    """A problem whose place is not formatted yet."""

    location: Location
    value: object
    allowed: str


def write_location(location: Location) -> str:
    """Format a place as a dotted path, such as `pools.web.health.interval` or `routes[1].pool`."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            key = part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else f'"{part}"'
            text += f".{key}" if text else key
    return text


def read_location(path: str) -> Location:
    """Read what `write_location` wrote."""
    parts = re.findall(r'"([^"]*)"|\[(\d+)\]|([A-Za-z0-9_-]+)', path)
    return tuple(int(index) if index else quoted or bare for quoted, index, bare in parts)


def in_order_of(lines: KeyLines, file: str, findings: Iterable[Finding]) -> tuple[Problem, ...]:
    """Convert findings to problems, sorted by their lines in the file."""
    problems = (
        Problem(write_location(finding.location), _shown(finding), finding.allowed, file, lines.of(finding.location))
        for finding in findings
    )
    return tuple(sorted(problems, key=lambda problem: problem.line))


def _shown(finding: Finding) -> object:
    """Give the value of a finding as messages may show it, which go to logs."""
    is_secret = finding.value is not MISSING and _is_secret(finding.location)
    return Verbatim("a value that is not shown") if is_secret else finding.value


def _is_secret(location: Location) -> bool:
    return bool(location) and re.search(_SECRET, str(location[-1]).lower()) is not None


def translate(errors: Iterable[ErrorDetails]) -> Iterator[Finding]:
    """Convert pydantic's errors to findings."""
    for error in errors:
        location = error["loc"]
        if error["type"] == "missing" and location[-1] == "server" and find_misnamed(error["input"]):
            continue  # the addresses that make it another kind of pool are told to be misnamed
        value = MISSING if error["type"] == "missing" else error["input"]
        yield Finding(_place(location), value, _allowed(error))


def _place(location: Location) -> Location:
    """Remove what pydantic adds: the kind behind the name of a pool and behind an entry of `bind`, and a mark behind a
    key that is wrong itself."""
    if location[:1] == ("pools",):
        location = location[:2] + location[3:]
    if location[:1] == ("listeners",) and location[2:3] == ("bind",):
        location = location[:4] + location[5:]
    return location[:-1] if location[-1:] == (_KEY,) else location


def _allowed(error: ErrorDetails) -> str:
    context, value, location = error.get("ctx", {}), error["input"], error["loc"]
    match error["type"]:
        case "value_error":
            return str(context["error"])
        case "missing":
            key = str(location[-1])
            example = f": add {_EXAMPLES[key]}" if key in _EXAMPLES else ""
            if key == "server" and "command" in value:
                example = ': add server = "command"'
            return f"given; {describe_key(location)}{example}"
        case "extra_forbidden":
            return unknown_key(location, _place(location), value)
        case "enum":
            return _one_of(context["expected"], value)
        case "string_type":
            # Of a variable a flag is as good a text as a number.
            is_flag = isinstance(value, bool) and "environment" not in location
            is_number = isinstance(value, int | float) and not is_flag and not _is_secret(location)
            return f"a string in quotes{f'; write {written(_text_of(value))}' if is_number else ''}"
        case "int_type":
            digits = re.fullmatch(r"\d{1,9}", value, re.ASCII) if isinstance(value, str) else None
            return f"a whole number{f'; write {int(digits[0])}, without quotes' if digits else ''}"
        case "bool_type":
            return f"true or false, without quotes{_flag_meant(value)}"
        case "tuple_type":
            return _list(_place(location), value)
        case "model_type" | "dict_type" | "mapping_type":
            return _table(_place(location), value)
        case "greater_than_equal":
            return f"a whole number, {context['ge']} or more"
        case "less_than_equal":
            return f"a whole number, {context['le']} or less"
        case "string_pattern_mismatch" if location[-1] == _KEY:
            return f"{NAME_ALLOWED}{_name_meant(str(value))}"
        case "string_too_short":
            return f"a string that is not empty; {describe_key(location)}"
        case _:
            return error["msg"]


def _table(place: Location, value: object) -> str:
    """Say what would be right in place of a value that is no table."""
    key = str(place[-1])
    if place[0] in ("listeners", "pools") and len(place) == 2 and key in keys_of(str(place[0])):
        return f"in a table with a name; write [{place[0]}.{_NAMES[str(place[0])]}] above it"
    if place in (("listeners",), ("pools",)):
        return f"tables with a name; write [{key}.{_NAMES[key]}] above the keys of each"
    if isinstance(place[-1], int):
        wanted = f'{{ cert = {written(value)}, key = "FILE" }}' if place[-2] == "certificates" else "{ }"
        return f"a table; write {wanted}"
    if key == "environment" and (pairs := _variables(value)):
        return f"a table; write {{ {', '.join(f'{name} = {written(text)}' for name, text in pairs)} }}"
    if key == "rollout" and value in [str(one) for one in Strategy]:
        return f"a table; write {{ strategy = {written(value)} }}"
    if key == "health" and isinstance(value, str) and value.startswith("/"):
        return f"a table; write {{ path = {written(value)} }}"
    return f"a table{f'; {_TABLES[key]}' if key in _TABLES else f', [{write_location(place)}]'}"


def _text_of(value: object) -> str:
    """Give a number or flag as the text that it would be without quotes."""
    return written(value) if isinstance(value, bool) else str(value)


def _variables(value: object) -> list[tuple[str, str]]:
    """Read NAME=VALUE texts; nothing where one of them is none."""
    texts = value if isinstance(value, list) else [value]
    pairs = [text.split("=", 1) for text in texts if isinstance(text, str) and re.match(r"[A-Za-z_]\w*=", text)]
    return [(name, after) for name, after in pairs] if len(pairs) == len(texts) else []


def _one_of(expected: str, value: object) -> str:
    words = re.findall(r"'([^']*)'", expected)
    if not words:
        return f"one of {expected}"
    # Of versions every one looks like every other, and none of them is meant.
    named = isinstance(value, str) and not value[:1].isdigit()
    hint = did_you_mean(str(value), words) if named else ""
    if isinstance(value, list) and len(value) == 1 and value[0] in words:
        return f"one of {', '.join(map(written, words))}; write {written(value[0])}"
    if not hint and not isinstance(value, bool | list | Mapping):
        inside = [word for word in words if word in str(value) or (len(str(value)) > 2 and word.startswith(str(value)))]
        hint = f"; write {written(inside[0])}" if len(inside) == 1 and len(inside[0]) > 2 else ""
    return f"one of {', '.join(map(written, words))}{hint}"


def _flag_meant(value: object) -> str:
    word = str(value).lower()
    if word in {"true", "yes", "on", "1"}:
        return "; write true"
    return "; write false" if word in {"false", "no", "off", "0"} else ""


def _name_meant(name: str) -> str:
    """Give the name that can be had by replacing what names cannot have."""
    meant = re.sub(r"[^A-Za-z0-9_-]", "-", name)[:40].lstrip("-_")
    return f"; write {meant}, and so wherever it is named" if re.fullmatch(NAME_PATTERN, meant) else ""


def _list(place: Location, value: object) -> str:
    """Say what would be right in place of a value that is no list."""
    key = place[-1]
    if place == ("routes",):
        is_table = isinstance(value, Mapping)
        return (
            f"a list of tables; write {'[[routes]], with two brackets' if is_table else whole_list([{'pool': 'NAME'}])}"
        )
    if key in ("command", "args"):
        words = _words(value)
        what = "a list, program and arguments" if key == "command" else "a list of arguments"
        return f"{what}{f'; write {whole_list(words)}' if words else ''}"
    if key == "self_signed" and isinstance(value, bool):
        return 'a list of names; write ["localhost"], or the names by which the listener is reached'
    if key == "certificates":
        pair = whole_list([value]) if isinstance(value, Mapping) else '[{ cert = "FILE", key = "FILE" }]'
        return f"a list of tables; write {pair}"
    if place == ("admin", "bind") and str(value).lower() in ("off", "none", "false", ""):
        return "a list of addresses; write []"
    if key == "bind" and isinstance(value, Mapping) and "path" in value:
        return "a list of addresses; write [{ … }] around the table"
    if key in ("bind", "addresses"):
        return f"a list of addresses; write {whole_list([_address_meant(value)])}"
    one = value if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)) else None
    return f"a list in brackets{f'; write {whole_list([one])}' if one is not None else ''}"


def _words(value: object) -> list[str]:
    """Split a command line as a shell would; nothing where that cannot be done."""
    import shlex  # the start of a proxy has no use for it

    try:
        return shlex.split(value) if isinstance(value, str) else []
    except (ValueError, ImportError):  # of an environment that is gone
        return []


def _address_meant(value: object) -> str:
    """Give the address that was meant, or an example."""
    if isinstance(value, Mapping) and {"host", "port"} <= set(value):
        value = f"{value['host']}:{value['port']}"
    try:
        return str(parse_address(str(value)))
    except ValueError as error:
        advised = re.search(r'write "([^"]+)"', str(error))
        return advised[1] if advised is not None and not isinstance(value, Mapping | list) else "127.0.0.1:8000"


def whole_list(items: Iterable[object]) -> str:
    """Format a list as TOML, each item cut where it is too long for a line."""
    return f"[{', '.join(map(written, items))}]"


def find_unusable_texts(value: object, location: Location = ()) -> Iterator[Finding]:
    """Find texts with a NUL character: no path, argument or variable of a process can have one."""
    match value:
        case str() if "\0" in value:
            yield Finding(location, value, "a text without the character NUL")
        case Mapping():
            for key, below in value.items():
                if "\0" in key:
                    yield Finding((*location, key), below, "a key without the character NUL")
                else:
                    yield from find_unusable_texts(below, (*location, key))
        case list():
            for number, below in enumerate(value):
                yield from find_unusable_texts(below, (*location, number))
        case _:
            pass
