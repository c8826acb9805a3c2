"""Connections from clients: listeners, handshakes, HTTP/1.1 and HTTP/2, and how they are ended in order."""
