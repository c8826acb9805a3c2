"""Client connections: listeners, TLS handshakes, HTTP/1.1 and HTTP/2, graceful and lingering close."""
