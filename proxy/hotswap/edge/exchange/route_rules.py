"""Rules of one route, made from its table when the routes are set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hotswap.core.http.contents import Contents
from hotswap.edge.files.files_step import FilesStep

if TYPE_CHECKING:
    from hotswap.core.config.routes import RouteTable
    from hotswap.edge.files.disk_call import FilesPlane
    from hotswap.edge.rules.rule_step import RuleStep


class RouteRules:
    """What a route asks of requests, and how it changes their answers.

    Attributes:
        table: the route.
        steps: taken in this order: redirect, allow and deny, rate, basic_auth, files.
    """

    __slots__ = ("steps", "table")

    def __init__(self, table: RouteTable, steps: Sequence[RuleStep]) -> None:
        self.table = table
        self.steps = tuple(steps)


def make_rules(table: RouteTable, contents: Contents, plane: FilesPlane) -> RouteRules | None:
    """Make the rules of a route; None for a route that has none.

    Args:
        table: the route.
        contents: of the files that it names.
        plane: the data plane.
    """
    if not table.ruled:
        return None
    steps: list[RuleStep] = []
    if table.files:
        steps.append(FilesStep(plane, table))
    return RouteRules(table, steps)
