"""JSON Schema of the configuration, for editors and for the reference."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hotswap.core.config.configuration import Configuration
from hotswap.core.config.descriptions import descriptions_of
from hotswap.core.config.fields import Table

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def configuration_schema() -> dict[str, Any]:
    """Describe the file as JSON Schema (2020-12), every default written as the file would."""
    schema = Configuration.model_json_schema(mode="validation")
    definitions = {**schema["$defs"], Configuration.__name__: schema}
    for model in _kinds_of(Table):
        descriptions = descriptions_of(model)
        for name, key in definitions.get(model.__name__, {}).get("properties", {}).items():
            key["description"] = descriptions.get(name, "")
            if not model.model_fields[name].is_required():
                key["default"] = _written_default(model, name)
    return {"$schema": DIALECT, **schema, "title": "hotswap configuration"}


def _kinds_of(table: type[Table]) -> Iterator[type[Table]]:
    for kind in table.__subclasses__():
        yield kind
        yield from _kinds_of(kind)


def _written_default(model: type[Table], name: str) -> Any:
    """Give the default of a key as the file would write it."""
    default = model.model_fields[name].get_default(call_default_factory=True)
    return model.model_construct(**{name: default}).model_dump(mode="json", include={name})[name]
