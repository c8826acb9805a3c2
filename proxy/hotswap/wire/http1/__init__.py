"""HTTP/1.1 without I/O: requests and responses read from bytes."""
