"""`python -m hotswap` is `hotswap`."""

from __future__ import annotations

from hotswap.cli import main

if __name__ == "__main__":
    main()
