"""The calls of the admin API, over a fake runtime with real pools and rollouts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import structlog.testing
import trio

from hotswap.control.takeover.order import TakeoverResult
from hotswap.core.address import TcpAddress
from hotswap.core.errors import MISSING, Problem, RefusalCode, Refused
from hotswap.core.pool.last_error import LastError
from tests.support.fake_runtime import FakeProxy, open_fake_proxy


@pytest.fixture
async def proxy() -> AsyncIterator[FakeProxy]:
    """A fake proxy whose admin API answers."""
    async with open_fake_proxy() as fake:
        yield fake


@pytest.fixture
async def client(proxy: FakeProxy) -> AsyncIterator[httpx.AsyncClient]:
    """A stranger that speaks to it."""
    async with httpx.AsyncClient(base_url=proxy.url, timeout=10) as client:
        yield client


def problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check that an answer is a problem, and give it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["status"] == status
    assert document["code"] == code
    assert document["detail"]
    assert "state" in document
    return document


async def test_port_zero_is_told_as_the_port_it_became(proxy: FakeProxy) -> None:
    """Whoever starts it learns where it answers."""
    (address,) = proxy.addresses
    assert isinstance(address, TcpAddress)
    assert address.port != 0


async def test_status_is_the_state_of_the_runtime(proxy: FakeProxy, client: httpx.AsyncClient) -> None:
    """What the runtime says goes out as it is."""
    assert (await client.get("/v1/status")).json() == proxy.runtime.status()


async def test_a_pool_by_itself_has_its_name_and_timeouts(client: httpx.AsyncClient) -> None:
    """Whoever shows the time left of a drain needs to know how long it may take."""
    web = (await client.get("/v1/pools/web")).json()
    assert web["name"] == "web"
    assert web["timeouts"] == {"start": 30.0, "drain": 30.0, "stop": 30.0}
    assert (await client.get("/v1/pools/legacy")).json()["timeouts"] is None


async def test_a_reload_of_a_pool_is_accepted_with_its_rollout(client: httpx.AsyncClient) -> None:
    """202 says that it will run, and the id leads to its report."""
    response = await client.post("/v1/pools/web/reload")
    assert response.status_code == 202
    rollout = response.json()
    assert rollout["pool"] == "web"
    assert rollout["trigger"] == "api"
    await client.post("/v1/pools/legacy/reload")
    later = (await client.get(f"/v1/rollouts/{rollout['id']}")).json()
    assert later["id"] == rollout["id"]
    listed = (await client.get("/v1/rollouts")).json()["rollouts"]
    assert [one["id"] for one in listed] == [rollout["id"]]


async def test_waiting_answers_when_the_rollout_has_ended(proxy: FakeProxy, client: httpx.AsyncClient) -> None:
    """`?wait=true` gives the whole report."""
    proxy.runtime.outcome = "held"
    answers: list[httpx.Response] = []

    async def reload() -> None:
        answers.append(await client.post("/v1/pools/web/reload?wait=true"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reload)
        while proxy.runtime.running("web") is None:
            await trio.lowlevel.checkpoint()
        assert answers == []
        proxy.runtime.go_on.set()
    assert answers[0].status_code == 200
    assert answers[0].json()["outcome"] == "done"
    assert [slot["state"] for slot in answers[0].json()["slots"]] == ["done", "done"]


async def test_waiting_tells_of_a_failure_with_the_backends_last_lines(
    proxy: FakeProxy, client: httpx.AsyncClient
) -> None:
    """The report has what a person needs to repair it."""
    proxy.runtime.outcome = "failed"
    report = (await client.post("/v1/pools/web/reload?wait=true")).json()
    assert report["outcome"] == "failed"
    assert report["locked"] is True
    assert report["output"][-1] == "ModuleNotFoundError: No module named 'shop'"


async def test_a_second_reload_is_refused_with_the_id_of_the_running_one(
    proxy: FakeProxy, client: httpx.AsyncClient
) -> None:
    """409, so that the caller can follow the one that runs."""
    proxy.runtime.outcome = "held"
    running = (await client.post("/v1/pools/web/reload")).json()["id"]
    document = problem(await client.post("/v1/pools/web/reload"), 409, "rollout-in-progress")
    assert document["state"]["rollout"] == running


async def test_reload_starts_every_supervised_pool(client: httpx.AsyncClient) -> None:
    """The static pool has nothing to replace and is not mentioned."""
    response = await client.post("/v1/reload")
    assert response.status_code == 202
    assert [rollout["pool"] for rollout in response.json()["rollouts"]] == ["web"]
    assert response.json()["refusals"] == {}


@pytest.mark.parametrize("code", list(RefusalCode))
async def test_every_refusal_is_a_409_with_its_code_and_state(
    proxy: FakeProxy, client: httpx.AsyncClient, code: RefusalCode
) -> None:
    """Whatever the reason, the answer has the same form, and afterwards a good call works."""
    proxy.runtime.refusal = Refused(code, "it cannot be", {"pool": "web"})
    for path in ("/v1/reload", "/v1/pools/web/reload", "/v1/config/reload"):
        assert problem(await client.post(path), 409, code.value)["state"] == {"pool": "web"}
    proxy.runtime.refusal = None
    assert (await client.post("/v1/pools/web/reload")).status_code == 202


@pytest.mark.parametrize(
    "path",
    ["reload", "pause", "resume", "unlock", "abort", "slots/0/drain", "slots/0/readmit"],
)
async def test_an_unknown_pool_is_a_404_that_lists_the_known_ones(client: httpx.AsyncClient, path: str) -> None:
    """A typing mistake is answered with what would have been right."""
    document = problem(await client.post(f"/v1/pools/wbe/{path}"), 404, "unknown-pool")
    assert document["state"]["known"] == ["web", "legacy"]


@pytest.mark.parametrize("slot", ["2", "-1", "x", "00", "9" * 5000])
async def test_an_unknown_slot_is_a_404(client: httpx.AsyncClient, slot: str) -> None:
    """A number that is none is a slot that is none."""
    for verb in ("drain", "readmit"):
        problem(await client.post(f"/v1/pools/web/slots/{slot}/{verb}"), 404, "unknown-slot")


async def test_an_unknown_rollout_is_a_404(client: httpx.AsyncClient) -> None:
    """Rollouts are forgotten at some time."""
    problem(await client.get("/v1/rollouts/r99"), 404, "unknown-rollout")
    problem(await client.get("/v1/pools/none"), 404, "unknown-pool")


async def test_drain_and_readmit_answer_with_the_slot_as_it_is_then(client: httpx.AsyncClient) -> None:
    """The caller sees what the order has done."""
    drained = (await client.post("/v1/pools/web/slots/1/drain")).json()
    assert drained["slot"]["backends"][0]["state"] == "draining"
    readmitted = (await client.post("/v1/pools/web/slots/1/readmit")).json()
    assert readmitted["slot"]["backends"][0]["state"] == "ready"


async def test_verbs_say_whether_they_changed_anything(proxy: FakeProxy, client: httpx.AsyncClient) -> None:
    """Doing it twice is harmless and told."""
    proxy.runtime.pool("web").lock("it failed")
    for verb in ("pause", "resume"):
        first = await client.post(f"/v1/pools/web/{verb}")
        again = await client.post(f"/v1/pools/web/{verb}")
        assert first.json() == {"pool": "web", "changed": True}
        assert again.json() == {"pool": "web", "changed": False}
    first = await client.post("/v1/pools/web/unlock")
    again = await client.post("/v1/pools/web/unlock")
    assert first.json() == {"pool": "web", "changed": True, "refilled": [], "serving": [0, 1]}
    assert again.json() == {"pool": "web", "changed": False, "refilled": [], "serving": []}


async def test_abort_names_the_rollout_that_was_asked_to_end(proxy: FakeProxy, client: httpx.AsyncClient) -> None:
    """Null when there was none."""
    assert (await client.post("/v1/pools/web/abort")).json() == {"pool": "web", "rollout": None}
    proxy.runtime.outcome = "held"
    running = (await client.post("/v1/pools/web/reload")).json()["id"]
    assert (await client.post("/v1/pools/web/abort")).json() == {"pool": "web", "rollout": running}


async def test_a_bad_configuration_lists_every_problem(proxy: FakeProxy, client: httpx.AsyncClient) -> None:
    """422 with file and line as far as they are known, key path, value as in the file, and what is allowed."""
    proxy.runtime.config_problems = (
        Problem("pools.web.size", -1, "a number from 1", "/a.toml", 7),
        Problem("routes[0].pool", MISSING, "the name of a pool"),
    )
    document = problem(await client.post("/v1/config/reload"), 422, "config-invalid")
    assert document["state"]["problems"] == [
        {"file": "/a.toml", "line": 7, "path": "pools.web.size", "value": "-1", "allowed": "a number from 1"},
        {"file": None, "line": None, "path": "routes[0].pool", "value": None, "allowed": "the name of a pool"},
    ]


async def test_a_good_configuration_answers_with_what_changed(client: httpx.AsyncClient) -> None:
    """Without a rollout it is done when it is answered."""
    response = await client.post("/v1/config/reload")
    assert response.status_code == 200
    assert response.json()["changes"] == ["pool web: hold_limit"]


async def test_stop_is_accepted_and_done(proxy: FakeProxy, client: httpx.AsyncClient) -> None:
    """The answer comes before the end."""
    response = await client.post("/v1/stop")
    assert response.status_code == 202
    assert response.json() == {"stopping": True}
    assert proxy.runtime.stopping == 1


async def test_a_takeover_answers_with_what_became_of_it(proxy: FakeProxy, client: httpx.AsyncClient) -> None:
    """The new process, or the step that failed, why, and who serves."""
    response = await client.post("/v1/takeover")
    assert response.status_code == 200
    assert response.json() == {"outcome": "done", "generation": 2, "pid": 4711, "version": "9.9"}
    proxy.runtime.handed_over = TakeoverResult(done=False, generation=1, pid=1, step="preparing", reason="too hot")
    document = problem(await client.post("/v1/takeover"), 500, "takeover-failed")
    assert document["state"]["step"] == "preparing"
    assert document["state"]["reason"] == "too hot"


async def test_liveness_and_readiness(proxy: FakeProxy, client: httpx.AsyncClient) -> None:
    """Ready needs a claimable backend in every pool; not ready says which pool has none and what it has."""
    assert (await client.get("/livez")).json() == {"status": "live"}
    assert (await client.get("/readyz")).status_code == 200
    await client.post("/v1/pools/legacy/slots/0/drain")
    document = problem(await client.get("/readyz"), 503, "not-ready")
    assert document["state"]["reasons"] == ["pool legacy has no backend that can serve: slot 0 is draining"]
    web = proxy.runtime.pool("web")
    for slot in (0, 1):
        web.remove(next(one for one in web.backends if one.slot == slot))
        web.note_error(slot, LastError(text="exited with status 1: no database"))
    assert problem(await client.get("/readyz"), 503, "not-ready")["state"]["reasons"][0] == (
        "pool web has no backend that can serve: none is there; slots 0, 1: exited with status 1: no database"
    )
    assert (await client.get("/livez")).status_code == 200


async def test_metrics_are_prometheus_text(proxy: FakeProxy, client: httpx.AsyncClient) -> None:
    """What was counted and what is now, in one scrape."""
    proxy.runtime.tally.requests["public", "web", "GET", 200] += 1
    response = await client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=")
    assert 'hotswap_requests_total{code="200",listener="public",method="GET",pool="web"} 1.0' in response.text
    assert 'hotswap_backends{pool="web",state="ready"} 2.0' in response.text


async def test_the_page_may_load_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    """No other host, no frame around it."""
    response = await client.get("/")
    assert response.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert response.headers["x-frame-options"] == "DENY"


async def test_no_get_changes_anything(proxy: FakeProxy, client: httpx.AsyncClient) -> None:
    """Links, prefetching and images cannot give orders: every order is a POST and nothing else."""
    paths = (await client.get("/openapi.json")).json()["paths"]
    orders = [path for path, methods in paths.items() if "post" in methods]
    assert len(orders) == 11
    before = proxy.runtime.status()
    for path in orders:
        filled = path.replace("{pool}", "web").replace("{slot}", "0")
        problem(await client.get(filled), 405, "method-not-allowed")
    assert proxy.runtime.status() == before


async def test_an_unknown_path_is_a_problem_too(client: httpx.AsyncClient) -> None:
    """Everything that is not an answer has the same form."""
    problem(await client.get("/nothing/here"), 404, "not-found")
    problem(await client.get("/v1/events?after=soon"), 422, "invalid-request")


async def test_a_defect_is_a_500_without_its_traceback_and_the_next_call_works(
    proxy: FakeProxy, client: httpx.AsyncClient
) -> None:
    """What went wrong inside is for the log."""
    proxy.runtime.broken = RuntimeError("secret")
    with structlog.testing.capture_logs() as logs:
        for path in ("/v1/status", "/metrics", "/v1/pools/web"):
            assert "secret" not in str(problem(await client.get(path), 500, "internal"))
        problem(await client.post("/v1/reload"), 500, "internal")
        while len(logs) < 4:  # the answer comes before the line in the log
            await trio.lowlevel.checkpoint()
    assert [(entry["event"], entry["path"]) for entry in logs] == [
        ("admin.failed", "/v1/status"),
        ("admin.failed", "/metrics"),
        ("admin.failed", "/v1/pools/web"),
        ("admin.failed", "/v1/reload"),
    ]
    proxy.runtime.broken = None
    assert (await client.get("/v1/status")).status_code == 200


async def test_head_is_answered_where_get_is(client: httpx.AsyncClient) -> None:
    """Some monitors ask that way; only the stream, which has no end, is not for them."""
    for path in ("/livez", "/readyz", "/v1/status", "/metrics", "/"):
        response = await client.head(path)
        assert (response.status_code, response.content) == (200, b""), path
    assert (await client.head("/v1/events")).status_code == 405, "its headers alone tell nothing"


async def test_answers_are_not_cached(client: httpx.AsyncClient) -> None:
    """They are the state of a moment."""
    for path in ("/v1/status", "/livez", "/nothing"):
        assert (await client.get(path)).headers["cache-control"] == "no-store"
