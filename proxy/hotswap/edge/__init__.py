"""The floor of sockets: listeners, connections of clients and to backends, and what passes between them.

Its rooms, of which each knows only those after it: `dataplane`, `client`, `exchange`, `upstream`, `loop`.
"""
