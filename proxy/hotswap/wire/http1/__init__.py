"""HTTP/1.1 without I/O: parsers of requests and responses."""
