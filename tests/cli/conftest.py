"""What the tests of the command line share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog.testing


@pytest.fixture(autouse=True)
def silent_proxy() -> Iterator[None]:
    """Keep the log of a fake proxy out of the output of a command that runs in the same process."""
    with structlog.testing.capture_logs():
        yield
