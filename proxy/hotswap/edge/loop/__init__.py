"""The one loop of the data plane, and what it serves: sockets, the streams on them, timers, and a pipe."""
