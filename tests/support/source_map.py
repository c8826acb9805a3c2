"""Write docs/reference/source.md from the first sentences of the modules, so that it names what is there.

`python -m tests.support.source_map` writes it; a test fails while the file is stale.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "source.md"

FLOORS = (
    "proxy/hotswap/cli",
    "proxy/hotswap/control",
    "proxy/hotswap/edge",
    "proxy/hotswap/processes",
    "proxy/hotswap/wire",
    "proxy/hotswap/core",
    "backends/hotswap_backends",
    "backends/demo",
    "backends/faulty",
)
"""From the top down; the last three are no floors but what stands behind the proxy."""

# ruff: noqa: E501  # sentences of prose stand on one line each
HEAD = """\
# Map of the source

<!-- Written from the modules by tests/support/source_map.py; edit their first sentences. -->

Floors from the top down: imports go down only, and `edge` and `processes` never import each other (import-linter checks it).
`tests/` has the same rooms, and `tests/e2e/` for what is shown with real processes.
"""


def write_page() -> str:
    """Give the page."""
    return "\n".join([HEAD, *(line for floor in FLOORS for line in _room(ROOT / floor, depth=2))])


def _room(directory: Path, depth: int) -> Iterator[str]:
    yield f"{'#' * depth} {directory.relative_to(ROOT)}"
    yield ""
    yield _first_sentence(directory / "__init__.py")
    yield ""
    modules = sorted(path for path in directory.glob("*.py") if path.stem not in ("__init__", "__main__"))
    if modules:
        yield "| module | what it is |"
        yield "|---|---|"
        for path in modules:
            link = Path("..", "..", path.relative_to(ROOT))
            yield f"| [{path.stem}]({link}) | {_first_sentence(path).replace('|', '&#124;')} |"
        yield ""
    for path in sorted(directory.iterdir()):
        if (path / "__init__.py").exists():
            yield from _room(path, depth + 1)


def _first_sentence(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split())


def main() -> None:
    """Write the page."""
    PAGE.write_text(write_page(), encoding="utf-8")
    print(f"written: {PAGE}")


if __name__ == "__main__":
    main()
