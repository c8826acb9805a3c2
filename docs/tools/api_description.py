"""Write proxy/hotswap/control/admin/openapi.json from the table of calls and the shapes of their answers.

`make docs` writes it (a test fails while the file is stale), so that neither a start nor a call pays for the making.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter

from docs.tools import api_documents
from hotswap.control.admin.call import AnyCall
from hotswap.control.admin.calls import CALLS
from hotswap.control.admin.messages import JSON
from hotswap.control.admin.parameters import BODY, Parameters, place_of, places_of
from hotswap.control.admin.problems import MEDIA_TYPE
from hotswap.control.telemetry.version import PROGRAM_VERSION
from hotswap.core.rollout.report import RolloutReport

PAGE: Final = Path(__file__).parents[2] / "proxy" / "hotswap" / "control" / "admin" / "openapi.json"

_REFERENCE: Final = "#/components/schemas/{model}"


class _Shapes:
    """The schemas of the shapes that calls name, each once."""

    def __init__(self, calls: tuple[AnyCall, ...]) -> None:
        names = {shape for call in calls for shape in call.answers.values() if "/" not in shape}
        adapters = [
            (name, "serialization", TypeAdapter(self._model(name))) for name in sorted({*names, "ProblemDocument"})
        ]
        self._schemas, definitions = TypeAdapter.json_schemas(adapters, ref_template=_REFERENCE)  # type: ignore[arg-type]
        self.components: Mapping[str, Any] = definitions.get("$defs", {})

    @staticmethod
    def _model(name: str) -> Any:
        return RolloutReport if name == RolloutReport.__name__ else getattr(api_documents, name)

    def content(self, shape: str, media_type: str = JSON) -> dict[str, Any]:
        """Describe a body: of a shape, or, where the name is that of a media type, of anything of it."""
        if "/" in shape:
            return {shape: {"schema": {"type": "string"}}}
        return {media_type: {"schema": self._schemas[shape, "serialization"]}}


def _parameters(call: AnyCall) -> list[dict[str, Any]]:
    described: list[dict[str, Any]] = [
        {"name": one[1:-1], "in": "path", "required": True, "schema": {"type": "string"}}
        for one in call.segments
        if one.startswith("{")
    ]
    if call.takes is not Parameters:
        properties = call.takes.model_json_schema()["properties"]
        for name, field in call.takes.model_fields.items():
            key = field.alias or name
            if place_of(field.json_schema_extra) == BODY:
                continue
            schema = {word: value for word, value in properties[key].items() if word not in {"in", "description"}}
            described.append(
                {
                    "name": key,
                    "in": place_of(field.json_schema_extra),
                    "required": False,
                    "description": field.description,
                    "schema": schema,
                }
            )
    return described


def _body(call: AnyCall) -> dict[str, Any]:
    """Describe the body that a call takes."""
    properties = call.takes.model_json_schema()["properties"]
    keys = [key for key, place in places_of(call.takes).items() if place == BODY]
    described = {key: {word: value for word, value in properties[key].items() if word != "in"} for key in keys}
    schema = {"type": "object", "properties": described, "additionalProperties": False}
    return {"required": False, "content": {JSON: {"schema": schema}}}


def _operation(call: AnyCall, shapes: _Shapes) -> dict[str, Any]:
    answers = {
        str(status): {"description": HTTPStatus(status).phrase, "content": shapes.content(shape)}
        for status, shape in call.answers.items()
    }
    problems = {
        str(status): {
            "description": HTTPStatus(status).phrase,
            "content": shapes.content("ProblemDocument", MEDIA_TYPE),
        }
        for status in call.problems
    }
    operation: dict[str, Any] = {"summary": call.summary, "operationId": call.name}
    if parameters := _parameters(call):
        operation["parameters"] = parameters
    if call.reads_body:
        operation["requestBody"] = _body(call)
    return {**operation, "responses": {**answers, **problems}}


def write_page() -> str:
    """Give the text of the file."""
    calls = tuple(call for call in CALLS if call.described)
    shapes = _Shapes(calls)
    paths: dict[str, dict[str, Any]] = {}
    for call in calls:
        paths.setdefault(call.path, {})[call.method.lower()] = _operation(call, shapes)
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "hotswap admin API",
            "summary": "See the proxy, and give it orders.",
            "version": PROGRAM_VERSION,
        },
        "paths": paths,
        "components": {"schemas": shapes.components},
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
