"""The floor of bytes: protocols as machines that take bytes in and give events out, and never wait."""
