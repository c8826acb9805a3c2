"""HTTP/2 without I/O: a session with a client, a session with a backend, and what both are made of."""
