"""Findings of validation, while a file is still being checked: place, value, and what would be right.

This module also turns what pydantic reports into findings in our words, with a way out where one can be
guessed.
"""

from __future__ import annotations

import re
import types
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Annotated, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from hotswap.core.config.configuration import Configuration
from hotswap.core.config.descriptions import descriptions_of
from hotswap.core.config.fields import NAME_ALLOWED
from hotswap.core.config.pools import STATIC, SUPERVISED, StaticPoolTable, SupervisedPoolTable
from hotswap.core.errors import MISSING, Problem, written

Location = tuple[str | int, ...]
"""Keys and indexes from the top of the file down to one value."""

_POOL_KINDS: Mapping[str | int, type[BaseModel]] = {
    SUPERVISED: SupervisedPoolTable,
    STATIC: StaticPoolTable,
}


_KEY = "[key]"


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


def in_order_of(document: Mapping[str, object], findings: Iterable[Finding]) -> tuple[Problem, ...]:
    """Convert findings to problems, sorted by the order of the file's tables, missing tables last."""

    def place(finding: Finding) -> tuple[int, ...]:
        table: object = document
        found = []
        for part in finding.location[:2]:
            if isinstance(table, Mapping) and part in table:
                found.append(list(table).index(part))
                table = table[part]
            elif isinstance(part, int):
                found.append(part)
            else:
                found.append(1_000_000)
        return tuple(found)

    return tuple(
        Problem(write_location(finding.location), finding.value, finding.allowed)
        for finding in sorted(findings, key=place)
    )


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """Give `; did you mean "…"?` when one of the words is close, else nothing."""
    close = get_close_matches(word.lower(), list(words), n=1, cutoff=0.6)
    return f'; did you mean "{close[0]}"?' if close else ""


def translate(errors: Iterable[ErrorDetails]) -> Iterator[Finding]:
    """Convert pydantic's errors to findings."""
    for error in errors:
        location = error["loc"]
        value = MISSING if error["type"] == "missing" else error["input"]
        yield Finding(_place(location), value, _allowed(error))


def _place(location: Location) -> Location:
    """Remove what pydantic adds: the kind behind the name of a pool, and a mark behind a key that is wrong
    itself."""
    if location[:1] == ("pools",):
        location = location[:2] + location[3:]
    return location[:-1] if location[-1:] == (_KEY,) else location


def _allowed(error: ErrorDetails) -> str:
    context = error.get("ctx", {})
    match error["type"]:
        case "value_error":
            return str(context["error"])
        case "missing":
            return f"required; {_description(error['loc'])}"
        case "extra_forbidden":
            return _unknown_key(error["loc"])
        case "enum":
            words = re.findall(r"'([^']*)'", context["expected"])
            # Of versions every one looks like every other, and none of them is meant.
            named = isinstance(error["input"], str) and not error["input"][:1].isdigit()
            hint = did_you_mean(error["input"], words) if named else ""
            return f"one of {', '.join(map(written, words)) or context['expected']}{hint}"
        case "string_type":
            return "a string in quotes"
        case "int_type":
            return "a whole number"
        case "bool_type":
            return "true or false, without quotes"
        case "tuple_type":
            one = error["input"]
            return "a list in brackets" + (f", [{written(one)}]" if isinstance(one, str | int) else "")
        case "model_type" | "dict_type" | "mapping_type":
            return f"a table, [{write_location(_place(error['loc']))}]"
        case "greater_than_equal":
            return f"a whole number, {context['ge']} or more"
        case "less_than_equal":
            return f"a whole number, {context['le']} or less"
        case "string_pattern_mismatch" if error["loc"][-1] == _KEY:
            return NAME_ALLOWED
        case "string_too_short":
            return f"a string that is not empty; {_description(error['loc'])}"
        case _:
            return error["msg"]


def _table_at(location: Location) -> type[BaseModel] | None:
    """Find the model of the table at a place, by the annotations from the top down."""
    annotation: object = Configuration
    for index, part in enumerate(location):
        is_kind = index == 2 and location[0] == "pools"
        annotation = _POOL_KINDS.get(part) if is_kind else _step(annotation, part)
    return _model_of(annotation)


def _step(annotation: object, part: str | int) -> object:
    model = _model_of(annotation)
    if model is not None:
        field = model.model_fields.get(str(part))
        return field.annotation if field is not None else None
    inner = get_args(annotation)
    if get_origin(annotation) is dict:
        return inner[1]
    return inner[0] if get_origin(annotation) is tuple else None


def _model_of(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Annotated, Union, types.UnionType):
        models = (_model_of(inner) for inner in get_args(annotation))
        return next((model for model in models if model is not None), None)
    return None


def _description(location: Location) -> str:
    """Give the first line of what the key means."""
    model = _table_at(location[:-1])
    text = descriptions_of(model).get(str(location[-1]), "") if model is not None else ""
    sentence = re.split(r"[.;]\s", text)[0].rstrip(".")
    return sentence[:1].lower() + sentence[1:]


def _unknown_key(location: Location) -> str:
    """Say what is allowed instead of a key that the table does not have, and where the key would be right."""
    *above, last = location
    key, table = str(last), tuple(above)
    model = _table_at(table)
    if model is None:
        return "unknown key"
    if table[:1] == ("pools",) and len(table) == 3:
        other = StaticPoolTable if model is SupervisedPoolTable else SupervisedPoolTable
        if key == "addresses":
            return "a pool has either addresses (something else runs the backends) or server (hotswap does)"
        if key in other.model_fields:
            return "only a supervised pool, one with server in place of addresses, has this key"
    for name, field in model.model_fields.items():
        inner = _model_of(field.annotation)
        if inner is not None and key in inner.model_fields:
            return f"unknown key here; it belongs to [{write_location((*_place(table), name))}]"
    for length in range(len(table) - 1, 0, -1):
        outer = _table_at(table[:length])
        if outer is not None and key in outer.model_fields:
            home = write_location(_place(table[:length]))
            return f"unknown key here; it belongs to [{home}], above the tables inside it"
    hint = did_you_mean(key, model.model_fields)
    if hint:
        return f"unknown key{hint}"
    return f"unknown key; allowed here: {', '.join(model.model_fields)}"


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
