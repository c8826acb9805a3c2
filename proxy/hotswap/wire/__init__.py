"""The floor of bytes: sans-I/O protocol state machines, bytes in and events out."""
