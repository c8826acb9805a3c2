"""The floor of sockets: listeners, connections of clients and to backends, and what passes between them."""
