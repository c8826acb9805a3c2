"""Says in the log what `hotswap check` would have told before a start: what a pool lacks, and which certificates end.

A start is not refused for it, since a pool that is down is repaired by the next deploy.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

import trio

from hotswap.control.configuration.cautions import find_expiring
from hotswap.control.pools.start_check import check_start
from hotswap.control.pools.supervised_pool import SupervisedPool
from hotswap.control.process.parts import Parts
from hotswap.core.errors import BackendError, StartFailed


async def tell_start_warnings(parts: Parts) -> None:
    """Log certificates that end soon, and what the interpreter lacks of each pool whose first start fails.

    Ends with the last of these starts.

    **Cancellation**: an interpreter that is asked is left to its own deadline.
    """
    for caution in find_expiring(parts.listeners.certificate_facts(), datetime.now(UTC)):
        parts.log.warning("config.caution", detail=caution)
    async with trio.open_nursery() as nursery:
        for pool in parts.pools.supervised():
            nursery.start_soon(_tell, parts, pool)


async def _tell(parts: Parts, pool: SupervisedPool) -> None:
    try:
        await pool.first_start.wait()
    except StartFailed:
        environment = parts.surroundings.environment
        check = partial(check_start, pool.name, pool.table, environment)
        found = await trio.to_thread.run_sync(check, abandon_on_cancel=True)
        for problem in found.problems:
            parts.log.warning("config.caution", detail=str(problem))
    except BackendError:
        pass  # it was ended, or the machine has no process left, which is no fault of the configuration
