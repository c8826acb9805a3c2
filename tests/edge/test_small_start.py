"""A process that only serves starts fast and small: nothing on the edge loads what control needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

LOAD = """
import importlib, pkgutil, sys
import hotswap.edge
for module in pkgutil.walk_packages(hotswap.edge.__path__, "hotswap.edge."):
    importlib.import_module(module.name)
others = {"pydantic", "structlog", "hotswap.core.config", "hotswap.core.pool.pool", "hotswap.control"}
print(sorted(others & sys.modules.keys()))
"""


@pytest.mark.fail_after(30)
def test_the_edge_loads_no_configuration_model_and_nothing_that_control_decides_with() -> None:
    """All of it, in a process of its own."""
    loaded = subprocess.run([sys.executable, "-c", LOAD], capture_output=True, text=True, check=True, timeout=25)
    assert loaded.stdout == "[]\n"
