"""What the calls of the admin API do: find the verb, call it, and write down what it gave.

Errors of this program become problems in one place (`application`). Nothing here waits for the proxy except where the
caller asked for it (`wait=true`). No GET changes anything.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from prometheus_client.exposition import CONTENT_TYPE_LATEST

from hotswap.control.admin.call import Act, Asked
from hotswap.control.admin.messages import AdminRequest, AdminResponse, respond
from hotswap.control.admin.parameters import (
    EventsParameters,
    Parameters,
    PauseParameters,
    ReloadParameters,
    TakeoverParameters,
    TrafficParameters,
)
from hotswap.control.admin.problems import problem
from hotswap.control.admin.streaming import stream_events
from hotswap.control.admin.views import detail_of, find_pool, find_slot, report, unready_reasons
from hotswap.control.pools.unlocked import Unlocked
from hotswap.control.process.verbs import Verbs
from hotswap.control.rollout.reload import ReloadAnswer
from hotswap.control.takeover.order import TakeoverFailed, TakeoverOrder
from hotswap.core.quantities import parse_duration

CLI_AGENT = "hotswap-cli"
"""How the command line calls itself in `User-Agent`; a rollout's trigger tells it from other callers."""

# Views.


async def status(asked: Asked[Parameters]) -> AdminResponse:
    """Answer with the state now."""
    await asked.verbs.look()
    return respond(asked.verbs.status())


async def pool_now(asked: Asked[Parameters]) -> AdminResponse:
    """Answer with one pool now."""
    await asked.verbs.look()
    return respond(detail_of(asked.verbs, asked.parts["pool"]))


async def rollouts(asked: Asked[Parameters]) -> AdminResponse:
    """Answer with the rollouts that are remembered."""
    return respond({"rollouts": [report(rollout) for rollout in await asked.verbs.rollouts()]})


async def rollout_now(asked: Asked[Parameters]) -> AdminResponse:
    """Answer with one rollout."""
    return respond(report(await asked.verbs.rollout(asked.parts["id"])))


# Reloads.


def trigger_of(request: AdminRequest) -> str:
    """Tell who asks, by the word that reports use."""
    return "cli" if request.fields.get("user-agent", "").startswith(CLI_AGENT) else "api"


async def answer_reload(
    asked: Asked[ReloadParameters], outcome: ReloadAnswer, *, certificates: bool = False
) -> AdminResponse:
    """Write down what became of a reload of several pools; a refusal when nothing at all was accepted.

    With `certificates`, those that are in use afterwards are a part of it, as in the status.
    """
    refusals = {pool: refused.to_json() for pool, refused in outcome.refusals.items()}
    if refusals and not outcome.rollouts and not outcome.changes:
        first = next(iter(outcome.refusals.values()))
        return problem(first.status, first.code, first.detail, {**first.state, "refusals": refusals})
    if asked.given.wait:
        for rollout in outcome.rollouts:
            await asked.verbs.wait_rollout(rollout.id)
    rollouts = [report(rollout) for rollout in outcome.rollouts]
    document = {"rollouts": rollouts, "refusals": refusals, "changes": list(outcome.changes)}
    if certificates:
        document["certificates"] = asked.verbs.status()["certificates"]
        document["down"] = list(outcome.down)
    return respond(document, status=200 if asked.given.wait or not rollouts else 202)


async def reload_all(asked: Asked[ReloadParameters]) -> AdminResponse:
    """Do what SIGUSR2 does."""
    return await answer_reload(asked, await asked.verbs.reload_all(trigger=trigger_of(asked.request)))


async def reread(asked: Asked[ReloadParameters]) -> AdminResponse:
    """Do what SIGHUP does."""
    outcome = await asked.verbs.reread_configuration(trigger=trigger_of(asked.request))
    return await answer_reload(asked, outcome, certificates=True)


async def reload_pool(asked: Asked[ReloadParameters]) -> AdminResponse:
    """Replace every backend of one pool."""
    rollout = await asked.verbs.reload_pool(asked.parts["pool"], trigger=trigger_of(asked.request))
    if asked.given.wait:
        await asked.verbs.wait_rollout(rollout.id)
    return respond(report(rollout), status=200 if asked.given.wait else 202)


# Verbs.


def _slot_order(act: Callable[[Verbs, str, int], None]) -> Act[Parameters]:
    async def order(asked: Asked[Parameters]) -> AdminResponse:
        pool = asked.parts["pool"]
        number = find_slot(asked.verbs, pool, asked.parts["slot"])
        act(asked.verbs, pool, number)
        await asked.verbs.look()
        slots = find_pool(asked.verbs, pool)["slots"]
        return respond({"pool": pool, "slot": next(one for one in slots if one["slot"] == number)})

    return order


drain = _slot_order(lambda verbs, pool, slot: verbs.drain(pool, slot))
readmit = _slot_order(lambda verbs, pool, slot: verbs.readmit(pool, slot))


def _pool_order(act: Callable[[Verbs, str], bool]) -> Act[Parameters]:
    async def order(asked: Asked[Parameters]) -> AdminResponse:
        pool = asked.parts["pool"]
        return respond({"pool": pool, "changed": act(asked.verbs, pool)})

    return order


async def pause(asked: Asked[PauseParameters]) -> AdminResponse:
    """Hold the requests for a pool, or have them answered at once."""
    pool, wanted = asked.parts["pool"], asked.given.wanted
    done = {"pool": pool, "changed": asked.verbs.pause(pool, wanted)}
    return respond(done if wanted is None else {**done, "answer": wanted.tell()})


resume = _pool_order(lambda verbs, pool: verbs.resume(pool))


async def unlock(asked: Asked[Parameters]) -> AdminResponse:
    """End the lock of a pool, and answer with what that did."""
    pool = asked.parts["pool"]
    done = asked.verbs.unlock(pool)
    found = done or Unlocked()
    told = {"refilled": list(found.refilled), "serving": list(found.serving)}
    return respond({"pool": pool, "changed": done is not None, **told})


async def abort(asked: Asked[Parameters]) -> AdminResponse:
    """End the rollout of a pool."""
    pool = asked.parts["pool"]
    return respond({"pool": pool, "rollout": asked.verbs.abort(pool)})


async def takeover(asked: Asked[TakeoverParameters]) -> AdminResponse:
    """Hand over to a new process, and answer with the result."""
    given, verbs = asked.given, asked.verbs
    named = given.executable is not None or given.config is not None
    if named and asked.request.address is not None and not verbs.config.admin.token_file:
        # Over TCP, every user of this machine could have any program run in the name of this one.
        detail = "a program or a file can be named over a Unix socket, or with a token, and not otherwise"
        return problem(403, "not-over-this-address", detail)
    try:
        order = TakeoverOrder(
            executable=given.executable,
            config=None if given.config is None else Path(given.config),
            probation=parse_duration(given.probation),
            drain_timeout=parse_duration(given.drain_timeout),
        )
    except ValueError as error:
        return problem(422, "invalid-request", f"probation and drain_timeout: {error}")
    try:
        result = await verbs.start_takeover(order)
    except TakeoverFailed as failed:
        return problem(500, "takeover-failed", str(failed), failed.result.to_json())
    return respond(result.to_json())


async def stop(asked: Asked[Parameters]) -> AdminResponse:
    """Do what SIGTERM does."""
    asked.verbs.stop()
    return respond({"stopping": True}, status=202)


# Observation.


async def traffic(asked: Asked[TrafficParameters]) -> AdminResponse:
    """Answer with the last minutes of what was served."""
    return respond(asked.verbs.traffic.tell(asked.given.after))


async def events(asked: Asked[EventsParameters]) -> AdminResponse:
    """Answer with every change of state, as it comes."""
    return AdminResponse(
        media_type="text/event-stream; charset=utf-8",
        body=stream_events(asked.verbs.events, asked.given.seen, ending=asked.ending),
        fields={"X-Accel-Buffering": "no"},
    )


async def livez(_asked: Asked[Parameters]) -> AdminResponse:
    """Answer at all."""
    return respond({"status": "live"})


async def readyz(asked: Asked[Parameters]) -> AdminResponse:
    """Answer whether every pool has a backend that can serve."""
    if asked.verbs.ready():
        return respond({"status": "ready"})
    # What an app wrote may hold secrets: it is told only to those who may see the whole state.
    trusted = asked.trusts(asked.request)
    reasons = unready_reasons(asked.verbs.status(), errors=trusted) or ["the proxy is starting or stopping"]
    return problem(503, "not-ready", "; ".join(reasons), {"reasons": reasons})


async def scrape(asked: Asked[Parameters]) -> AdminResponse:
    """Answer a scrape by Prometheus."""
    return AdminResponse(media_type=CONTENT_TYPE_LATEST, body=asked.metrics.text())
