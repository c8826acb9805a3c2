"""HTTP/2 without I/O: sessions with clients and with backends, and their parts."""
