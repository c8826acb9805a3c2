"""How many files the proxy and what it starts may open."""

from __future__ import annotations

import json
import resource

from hotswap.processes.open_files import GIVEN, raise_limit

REPORT = """
import json, resource
print("report", json.dumps(resource.getrlimit(resource.RLIMIT_NOFILE)))
"""


async def test_the_proxy_may_open_as_many_as_the_kernel_lets_it_and_a_backend_as_before(stage):
    """Programs that use select(2) break on numbers above 1,023, and many close every number that there may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        raise_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == hard
        stage.spawn(REPORT)
        line = await stage.lines.wait_for("report")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert tuple(json.loads(line.removeprefix("report "))) == GIVEN
