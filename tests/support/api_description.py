"""Write proxy/control/admin/openapi.json from the calls of the admin API and the shapes of their answers.

`make docs` runs `python -m tests.support.api_description`; a test fails while the file is stale.
"""

from __future__ import annotations

from pathlib import Path

import structlog
import trio

from proxy.control.admin.application import build_application
from proxy.control.admin.description import write_description
from tests.support.fake_runtime import FakeRuntime

DESCRIPTION = Path(__file__).parents[2] / "proxy" / "control" / "admin" / "openapi.json"


async def describe() -> str:
    """Give the text of the file."""
    async with trio.open_nursery() as nursery:
        application = build_application(FakeRuntime(nursery), structlog.get_logger(), ending=trio.Event())
        return write_description(application)


def main() -> None:
    """Write the file."""
    DESCRIPTION.write_text(trio.run(describe), encoding="utf-8")
    print(f"written: {DESCRIPTION}")


if __name__ == "__main__":
    main()
