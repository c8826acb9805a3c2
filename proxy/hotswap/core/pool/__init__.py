"""Pools: what control decides about them, and what the data plane claims of them.

`pool`, `backend`, `slot_record` and `events` are control's alone, `claims`, `candidate` and `withdrawal` the data
plane's; between them goes `view` one way and `reports` the other. Why it is cut this way:
`docs/explanation/control-and-data-plane.md`.
"""
