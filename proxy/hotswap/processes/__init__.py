"""The floor of processes: backends are spawned, watched and stopped here; nothing knows of HTTP."""
