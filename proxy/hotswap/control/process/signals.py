"""Signals to the proxy, translated into its verbs.

| signal | verb |
|---|---|
| SIGUSR2 | reload: configuration, then every supervised pool |
| SIGHUP | configuration and certificates again, logs reopened, what changed is rolled |
| SIGTERM, SIGINT | graceful stop; a second one stops at once |

A signal has no answer, so whatever a verb has to say is logged. Several of one kind that arrive in the same
instant are one.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Awaitable, Callable

import trio
from structlog.typing import FilteringBoundLogger

from hotswap.control.process.verbs import Verbs
from hotswap.core.errors import ProxyError

HANDLED = (signal.SIGUSR2, signal.SIGHUP, signal.SIGTERM, signal.SIGINT)


async def serve_signals(signals: AsyncIterator[int], verbs: Verbs, log: FilteringBoundLogger) -> None:
    """Carry signals out until cancelled; a verb that takes its time does not delay the next signal.

    They come from `trio.open_signal_receiver(*HANDLED)`, opened early so that none is lost during boot.
    """
    async with trio.open_nursery() as nursery:
        async for number in signals:
            log.info("signal.received", signal=signal.Signals(number).name)
            match number:
                case signal.SIGUSR2:
                    nursery.start_soon(_contain, lambda: verbs.reload_all(trigger="signal"), log)
                case signal.SIGHUP:
                    nursery.start_soon(_contain, lambda: verbs.reread_configuration(trigger="signal"), log)
                case _:
                    verbs.stop()


async def _contain(verb: Callable[[], Awaitable[object]], log: FilteringBoundLogger) -> None:
    try:
        await verb()
    except ProxyError:
        # A refusal or an unusable configuration: it was logged where it was found.
        pass
    except Exception as error:
        log.error("signal.crashed", exc_info=error)
