"""How each proxy is configured for a run: one worker or thread, kept upstream connections, an access log."""
