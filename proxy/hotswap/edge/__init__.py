"""The floor of sockets: listeners, client and backend connections, and the exchanges between them.

Its rooms, of which each knows only those after it: `dataplane`, `client`, `exchange`, `upstream`, `loop`.
"""
