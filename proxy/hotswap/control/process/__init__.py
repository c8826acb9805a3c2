"""The process: its boot, its phases, its signals, as whom it runs, and where it listens."""
