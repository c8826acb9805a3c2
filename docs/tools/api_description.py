"""Write proxy/hotswap/control/admin/openapi.json from the table of calls and the shapes of their answers.

`make docs` writes it; a test fails while the file is stale.
"""

from __future__ import annotations

from pathlib import Path

from hotswap.control.admin.description import write_description

PAGE = Path(__file__).parents[2] / "proxy" / "hotswap" / "control" / "admin" / "openapi.json"


def write_page() -> str:
    """Give the text of the file."""
    return write_description()
