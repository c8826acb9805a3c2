"""Backend connections over HTTP/1.1 and HTTP/2, in use and idle, and health probes."""
