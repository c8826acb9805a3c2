"""`python -m docs.tools`, as in `make docs`: write everything that is generated."""

from __future__ import annotations

from docs.tools.generated import GENERATED

if __name__ == "__main__":
    for path, write in GENERATED.items():
        path.write_text(write(), encoding="utf-8")
        print(f"written: {path}")
