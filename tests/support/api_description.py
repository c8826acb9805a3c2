"""Write proxy/hotswap/control/admin/openapi.json from the table of calls and the shapes of their answers.

`make docs` runs `python -m tests.support.api_description`; a test fails while the file is stale.
"""

from __future__ import annotations

from pathlib import Path

from hotswap.control.admin.description import write_description

DESCRIPTION = Path(__file__).parents[2] / "proxy" / "hotswap" / "control" / "admin" / "openapi.json"


def main() -> None:
    """Write the file."""
    DESCRIPTION.write_text(write_description(), encoding="utf-8")
    print(f"written: {DESCRIPTION}")


if __name__ == "__main__":
    main()
