"""Rules of one route, made from its table when the routes are set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hotswap.core.http.contents import Contents
from hotswap.core.http.field_changes import FieldChanges

if TYPE_CHECKING:
    from hotswap.core.config.routes import RouteTable
    from hotswap.edge.rules.rule_step import RuleStep


class RouteRules:
    """What a route asks of requests, and how it changes their answers.

    Attributes:
        table: the route.
        steps: taken in this order: redirect, allow and deny, rate, basic_auth, files.
        changes: of the fields of its answers; None where it has none.
        compress: whether its answers may be compressed.
        log: whether its requests have lines in the access log.
    """

    __slots__ = ("changes", "compress", "log", "steps", "table")

    def __init__(self, table: RouteTable, steps: Sequence[RuleStep]) -> None:
        self.table = table
        self.steps = tuple(steps)
        self.changes = FieldChanges(table.headers) if table.headers else None
        self.compress = table.compress
        self.log = table.log


def make_rules(table: RouteTable, contents: Contents) -> RouteRules | None:
    """Make the rules of a route; None for a route that has none.

    Args:
        table: the route.
        contents: of the files that it names.
    """
    if not table.ruled:
        return None
    steps: list[RuleStep] = []
    return RouteRules(table, steps)
