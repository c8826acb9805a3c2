"""JSON Schema of the configuration, for editors and for the reference."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hotswap.core.config.configuration import Configuration
from hotswap.core.config.descriptions import descriptions_of

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def configuration_schema() -> dict[str, Any]:
    """Describe the file as JSON Schema (2020-12), every default written as the file would."""
    schema = Configuration.model_json_schema(mode="validation")
    definitions = schema["$defs"]
    for model in tables_of(Configuration):
        described = schema if model is Configuration else definitions[model.__name__]
        descriptions = descriptions_of(model)
        for name, field in model.model_fields.items():
            key = described["properties"][name]
            key["description"] = descriptions.get(name, "")
            if not field.is_required():
                key["default"] = written_default(model, name)
    return {"$schema": DIALECT, **schema, "title": "hotswap configuration"}


def tables_of(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Yield a table and every table inside it, each once, in the order of the file."""
    seen: list[type[BaseModel]] = []

    def visit(table: type[BaseModel]) -> None:
        if table not in seen:
            seen.append(table)
            for field in table.model_fields.values():
                for inner in models_in(field):
                    visit(inner)

    visit(model)
    yield from seen


def models_in(field: FieldInfo) -> Iterator[type[BaseModel]]:
    """Yield the tables that a key can hold, by its annotation."""
    pending: list[object] = [field.annotation]
    while pending:
        annotation = pending.pop(0)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield annotation
        pending.extend(get_args(annotation))


def written_default(model: type[BaseModel], name: str) -> Any:
    """Give the default of a key as the file would write it."""
    default = model.model_fields[name].get_default(call_default_factory=True)
    return model.model_construct(**{name: default}).model_dump(mode="json", include={name})[name]
