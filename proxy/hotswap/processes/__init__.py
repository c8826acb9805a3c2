"""The floor of processes: spawns, watches and stops backends; knows nothing of HTTP."""
