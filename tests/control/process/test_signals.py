"""Signals become verbs, and what a verb raises goes no further."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from typing import cast

import trio

from hotswap.control.process.signals import serve_signals
from hotswap.control.process.verbs import Verbs
from hotswap.core.errors import RefusalCode, Refused
from tests.support.pool_stage import captured_log


class Recording:
    """Verbs that say what was called, and then raise what they are told."""

    def __init__(self, error: Exception | None = None) -> None:
        self.called: list[str] = []
        self.error = error

    async def reload_all(self, *, trigger: str) -> None:
        """Called by SIGUSR2."""
        self._call(f"reload_all {trigger}")

    async def reread_configuration(self, *, trigger: str = "") -> None:
        """Called by SIGHUP."""
        self._call(f"reread_configuration {trigger}")

    def stop(self) -> None:
        """Called by SIGTERM and SIGINT."""
        self.called.append("stop")

    def _call(self, verb: str) -> None:
        self.called.append(verb)
        if self.error is not None:
            raise self.error


async def arriving(*numbers: int) -> AsyncIterator[int]:
    """Signals one after the other."""
    for number in numbers:
        await trio.lowlevel.checkpoint()
        yield number


async def test_each_signal_has_its_verb():
    """As the table says."""
    verbs = Recording()
    with captured_log() as (log, _records):
        await serve_signals(
            arriving(signal.SIGUSR2, signal.SIGHUP, signal.SIGTERM, signal.SIGINT), cast(Verbs, verbs), log
        )
    assert sorted(verbs.called) == ["reload_all signal", "reread_configuration signal", "stop", "stop"]


async def test_a_refusal_is_no_crash():
    """It was logged where it was decided."""
    refusing = Recording(Refused(RefusalCode.NOT_READY, "not yet"))
    with captured_log() as (log, records):
        await serve_signals(arriving(signal.SIGUSR2), cast(Verbs, refusing), log)
    assert [record["event"] for record in records] == ["signal.received"]


async def test_a_defect_in_a_verb_is_logged_and_later_signals_are_served():
    """No signal can end the proxy but those meant to."""
    verbs = Recording(ZeroDivisionError())
    with captured_log() as (log, records):
        await serve_signals(arriving(signal.SIGUSR2, signal.SIGUSR2), cast(Verbs, verbs), log)
    assert len(verbs.called) == 2
    assert [record["event"] for record in records].count("signal.crashed") == 2
