"""Connections to backends: of HTTP/1.1 and HTTP/2, those in use, those kept for the next request, and probes."""
