"""Rules of one route, made from its table when the routes are set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from hotswap.core.http.contents import Contents
from hotswap.core.http.field_changes import FieldChanges
from hotswap.edge.files.disk_call import FilesPlane
from hotswap.edge.files.files_step import FilesStep
from hotswap.edge.rules.address_step import AddressStep
from hotswap.edge.rules.basic_auth_step import BasicAuthStep
from hotswap.edge.rules.rate_step import RateStep
from hotswap.edge.rules.redirect_step import RedirectStep

if TYPE_CHECKING:
    from hotswap.core.config.routes import RouteTable
    from hotswap.edge.rules.limiters import Limiters
    from hotswap.edge.rules.password_verifier import PasswordVerifier
    from hotswap.edge.rules.rule_step import RuleStep


class RouteRules:
    """What a route asks of requests, and how it changes their answers.

    Attributes:
        table: the route.
        steps: taken in this order: redirect, allow and deny, rate, basic_auth, files.
        changes: of the fields of its answers; None where it has none.
        compress: whether its answers may be compressed.
        log: whether its requests have lines in the access log.
        body_bytes: the longest body of a request, `math.inf` is any; None: as the listener has it.
        response_timeout: seconds until a backend begins to answer, 0 is any; None: as the pool has it.
        idle_timeout: seconds in which nothing may move; None: as the listener has it.
    """

    __slots__ = (
        "body_bytes",
        "changes",
        "compress",
        "idle_timeout",
        "log",
        "response_timeout",
        "steps",
        "table",
    )

    def __init__(self, table: RouteTable, steps: Sequence[RuleStep]) -> None:
        self.table = table
        self.steps = tuple(steps)
        self.changes = FieldChanges(table.headers) if table.headers else None
        self.compress = table.compress
        self.log = table.log
        # Which is empty where the file says nothing.
        limit = math.inf if table.body_bytes is None else table.body_bytes
        self.body_bytes = None if limit == "" else limit
        self.response_timeout = None if table.response_timeout == "" else table.response_timeout
        self.idle_timeout = None if table.idle_timeout == "" else table.idle_timeout


class RulesPlane(FilesPlane, Protocol):
    """The data plane, as rules are made for it.

    Attributes:
        limiters: of the rates of all routes.
        verifier: of the passwords of all routes.
    """

    limiters: Limiters
    verifier: PasswordVerifier


def make_rules(table: RouteTable, contents: Contents, plane: RulesPlane) -> RouteRules | None:
    """Make the rules of a route; None for a route that has none.

    Args:
        table: the route.
        contents: of the files that it names.
        plane: the data plane.
    """
    if not table.ruled:
        return None
    steps: list[RuleStep] = []
    if table.redirect:
        steps.append(RedirectStep(table.redirect))
    if table.allow or table.deny:
        steps.append(AddressStep(table.allow, table.deny))
    if table.rate is not None:
        steps.append(RateStep(plane.limiters.of(table, table.rate)))
    if table.basic_auth:
        users = contents.users[table.basic_auth]
        # One for each file, so that a browser does not offer the credentials of one to the other.
        number = list(contents.users).index(table.basic_auth) + 1
        realm = "Restricted" if number == 1 else f"Restricted {number}"
        steps.append(BasicAuthStep(users, realm, plane.verifier))
    if table.files:
        steps.append(FilesStep(plane, table, alone=not steps))
    return RouteRules(table, steps)
