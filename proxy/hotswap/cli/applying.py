"""The verb `apply`: has the proxy read its configuration again, and prints what changed by it."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from hotswap.cli.client import AdminClient, Json
from hotswap.cli.reloading import Reload, follow_all, following, order, tell_end
from hotswap.cli.speaking import speaks
from hotswap.cli.terminal import put, put_json, tell
from hotswap.cli.watching import repair_of


@click.command()
@click.option("--no-wait", is_flag=True, help="Return when it is applied, and not when the last rollout has ended.")
@click.option("--json", "as_json", is_flag=True, help="Print changes, certificates and reports as JSON at the end.")
@speaks
def apply(client: AdminClient, no_wait: bool, as_json: bool) -> None:
    """Apply the configuration: read it and the certificates again, whole or not at all, and reopen log files.

    As SIGHUP, with an answer: prints what changed and each certificate that was loaded. Pools whose definition changed
    are rolled; waits for the end and shows how it goes.
    """
    found = Reload()
    with following(found):
        order(client, "/v1/config/reload", found)
        if not as_json:
            _tell(found)
            _tell_unwell(client, found)
        if not no_wait:
            follow_all(client, found)
    if as_json:
        applied = {"changes": found.changes, "certificates": found.certificates, "down": found.down}
        put_json({**applied, **found.as_json()})
    tell_end(found, as_json=as_json, no_wait=no_wait)
    click.get_current_context().exit(int(found.code))


def _tell(found: Reload) -> None:
    for change in found.changes:
        put(change)
    for report in found.reports.values():
        put(f"pool {report['pool']} changed: rollout {report['id']} replaces its backends")
    for certificate in found.certificates:
        put(certificate_words(certificate, datetime.now(UTC)))
    if not found.changes and not found.reports and not found.refusals:
        loaded = "certificates were loaded and log files opened" if found.certificates else "log files were opened"
        tell(f"nothing in the configuration has changed; {loaded} anew")


def _tell_unwell(client: AdminClient, found: Reload) -> None:
    """Say which pools are not well and stay so: no change of theirs was there to be applied, and a reload repairs."""
    told = {report["pool"] for report in found.reports.values()} | set(found.refusals)
    for name, pool in client.get("/v1/status")["pools"].items():
        repair = repair_of(name, pool)
        if repair is not None and name not in told:
            tell(f"pool {name} still waits for a repair; {repair}")


def certificate_words(certificate: Json, now: datetime) -> str:
    """Describe a certificate in one line: its names, its end, and where it is from.

    Args:
        certificate: as `GET /v1/status` has it.
        now: with a time zone, to say how long it is good for.
    """
    names = ", ".join(certificate["names"]) or "no name"
    words = f"certificate {names} of listener {certificate['listener']}"
    end = datetime.fromisoformat(certificate["expires"])
    days = (end - now).days
    words += f": good until {end:%Y-%m-%d} ({days} days)" if end > now else f": EXPIRED on {end:%Y-%m-%d}"
    return words if certificate["file"] is None else f"{words}, {certificate['file']}"
