"""Runs in backend processes: the launcher, and readiness notifications.

Nothing here imports the front end, and it needs the standard library only.
"""
