"""What runs in a backend process: the launcher, and readiness.

Nothing here imports the front end, and it needs the standard library only.
"""
