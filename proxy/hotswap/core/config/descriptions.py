"""Descriptions of configuration keys, from the docstrings below them in the source.

Pydantic would read it while the tables are made, which is a part of every start; it is read here when somebody asks.
"""

from __future__ import annotations

import ast
import inspect
import textwrap

from pydantic import BaseModel


def descriptions_of(model: type[BaseModel]) -> dict[str, str]:
    """Description of each key of a table and of its bases, as one line."""
    said: dict[str, str] = {}
    for table in reversed(model.__mro__):
        if issubclass(table, BaseModel) and table.__module__.startswith(__package__):
            said |= _own_descriptions(table)
    return said


def _own_descriptions(table: type[BaseModel]) -> dict[str, str]:
    try:
        source = inspect.getsource(table)
    except OSError:
        return {}  # installed without its source
    (definition,) = ast.parse(textwrap.dedent(source)).body
    assert isinstance(definition, ast.ClassDef)
    said: dict[str, str] = {}
    for statement, following in zip(definition.body, definition.body[1:], strict=False):
        match statement, following:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                said[name] = " ".join(text.split())
    return said
