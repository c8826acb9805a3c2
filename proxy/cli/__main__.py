"""`python -m proxy.cli` is `hotswap`."""

from __future__ import annotations

from proxy.cli.group import main

if __name__ == "__main__":
    main(prog_name="hotswap")
