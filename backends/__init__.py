"""What runs in a backend process: the launcher, readiness, the demo app, and faulty backends for tests.

Nothing here imports the proxy, and what an app imports needs the standard library only.
"""
