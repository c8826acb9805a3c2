"""`python -m faulty FAULT` runs a backend that misbehaves."""

from __future__ import annotations

from faulty.faults import main

if __name__ == "__main__":
    main()
