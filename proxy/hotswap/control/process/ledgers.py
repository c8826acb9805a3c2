"""Chooses how access lines are written: the ledger for the format that is configured."""

from __future__ import annotations

import os
from functools import partial
from typing import assert_never

from hotswap.control.telemetry.access import STDOUT
from hotswap.control.telemetry.logs import has_colours
from hotswap.core.config import AccessLogFormat
from hotswap.core.config.process import LogFormat, ProxyTable
from hotswap.edge.exchange.formatted_ledger import FormattedLedger
from hotswap.edge.exchange.ledger import Ledger, LedgerMaker
from hotswap.edge.exchange.line_formats import COMBINED, short_format


def choose_ledger(proxy: ProxyTable, *, stdout: int = STDOUT) -> LedgerMaker:
    """Give what counts exchanges and writes their lines in the format that is configured.

    Args:
        proxy: `auto` is for people where a terminal is written to and the log is not asked to be JSON.
        stdout: the descriptor that `-` means.
    """
    watched = proxy.access_log == "-" and os.isatty(stdout)
    match proxy.access_log_format:
        case AccessLogFormat.COMBINED:
            return partial(FormattedLedger, line_format=COMBINED)
        case AccessLogFormat.AUTO if watched and proxy.log_format is not LogFormat.JSON:
            return partial(FormattedLedger, line_format=short_format(colours=has_colours(stdout)))
        case AccessLogFormat.CONSOLE:
            colours = watched and has_colours(stdout)
            return partial(FormattedLedger, line_format=short_format(colours=colours))
        case AccessLogFormat.AUTO | AccessLogFormat.JSON:
            return Ledger
        case _:
            assert_never(proxy.access_log_format)
