"""The front end: it owns the ports and replaces the backends behind them, one at a time.

Floors, and imports go down only: `cli`, `control`, `edge` beside `processes`, `wire`, `core`.
"""
