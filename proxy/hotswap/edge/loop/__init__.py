"""Event loop of the data plane: poller, timers, streams over sockets, name lookups, and a pipe for splice(2)."""
