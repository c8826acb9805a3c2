"""The description of the admin API and its answers do not drift apart."""

from __future__ import annotations

from pathlib import Path

import httpx
from pydantic import TypeAdapter

from docs.tools import api_documents as documents
from hotswap.core.rollout.report import RolloutReport
from tests.support.fake_runtime import open_fake_proxy

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "admin-api.md"


async def test_answers_have_the_shapes_that_openapi_describes() -> None:
    """Each answer of the fake runtime is read by the model its call names."""
    async with open_fake_proxy() as proxy, httpx.AsyncClient(base_url=proxy.url) as client:
        documents.StatusDocument.model_validate((await client.get("/v1/status")).json())
        documents.PoolDetailDocument.model_validate((await client.get("/v1/pools/web")).json())
        documents.ReloadDocument.model_validate((await client.post("/v1/reload?wait=true")).json())
        documents.AppliedDocument.model_validate((await client.post("/v1/config/reload?wait=true")).json())
        documents.RolloutsDocument.model_validate((await client.get("/v1/rollouts")).json())
        TypeAdapter(RolloutReport).validate_python((await client.get("/v1/rollouts/r1")).json())
        documents.SlotOrderDocument.model_validate((await client.post("/v1/pools/web/slots/0/drain")).json())
        documents.ProblemDocument.model_validate((await client.get("/v1/rollouts/r9")).json())


async def test_the_reference_has_every_call_and_no_other() -> None:
    """Somebody who adds a call writes it down."""
    async with open_fake_proxy() as proxy, httpx.AsyncClient(base_url=proxy.url) as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
    served = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    text = REFERENCE.read_text(encoding="utf-8")
    headings = {line.removeprefix("### `").removesuffix("`") for line in text.splitlines() if line.startswith("### `")}
    assert headings == served | {"GET /openapi.json"}
